// SPDX-License-Identifier: Apache-2.0

package tape

// accountRules are of cloud accounts: the client panics without settings, and
// plans a change when anything else but the secret is not as it was written.
func accountRules() map[string]rule {
	return map[string]rule{
		"v1CloudAccountsAzureCreate": {written: func(l *look) { remember(l.accounts, l.created(), l.sent) }},
		"v1CloudAccountsAzureUpdate": {written: func(l *look) { l.accounts[l.vars["uid"]] = l.sent }},
		"v1CloudAccountsAzureDelete": {written: func(l *look) { delete(l.accounts, l.vars["uid"]) }},
		"v1CloudAccountsAzureGet":    {read: func(l *look) { l.account() }},
		"v1CloudAccountsAzureList": {read: func(l *look) {
			for _, a := range items(l.got, "items") {
				l.needIn("items[]", a, "metadata.name", "metadata.uid", "metadata.annotations.scope", "spec.tenantId", "spec.clientId")
			}
		}},
		"v1CloudAccountsListSummary": {read: func(l *look) {
			for _, a := range items(l.got, "items") {
				l.needIn("items[]", a, "metadata.name", "metadata.uid")
			}
		}},
	}
}

func (l *look) account() {
	l.need("metadata.name", "metadata.annotations.scope", "spec.settings", "spec.tenantId", "spec.clientId")
	l.want(l.got, "metadata.uid", l.vars["uid"])
	if _, is := at(l.got, "metadata.annotations.overlordUid").(string); !is {
		l.fault("metadata.annotations.overlordUid is absent")
	}
	if secret := at(l.got, "spec.clientSecret"); secret != nil && secret != "" {
		l.fault("spec.clientSecret is told")
	}
	sent, known := l.accounts[l.vars["uid"]]
	if !known {
		return
	}
	l.metadata(sent, false)
	for _, a := range []string{"scope", "overlordUid"} {
		if was := at(sent, "metadata.annotations."+a); !zero(was) {
			l.want(l.got, "metadata.annotations."+a, was)
		}
	}
	e := echo{computed: []string{"spec.azureEnvironment"}} // what the client takes for an absent one
	l.differences(e.compare("spec", without(at(sent, "spec"), "clientSecret"), without(at(l.got, "spec"), "clientSecret")))
}
