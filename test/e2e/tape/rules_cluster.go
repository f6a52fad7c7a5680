// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
)

// cluster is a cluster as it was last written.
type cluster struct {
	metadata      any
	account       string
	project       bool // it was made in a project
	config        any  // spec.cloudConfig
	pools         list // as they must read
	poolsLost     bool // they were changed when nobody knew that they are this cluster\'s
	clusterConfig object
	attached      []attachment
	namespaces    list
	rbacs         list
	backup, scan  any
	locked        bool
	deleted       bool
}

// attachment is a profile as a cluster took it: a later change of the profile
// does not reach it.
type attachment struct {
	uid       string
	known     bool
	name      string
	kind      string
	version   string
	packs     list
	variables list // name and value
}

// states are those that the client waits through; it takes any other for an
// error.
var states = []string{"Unknown", "Pending", "Provisioning", "Running", "Importing", "Deleting", "Deleted"}

// clusterRules are of clusters, their profiles and what is derived from them.
func clusterRules() map[string]rule {
	return map[string]rule{
		"v1SpectroClustersAzureCreate": {written: func(l *look) { l.newCluster() }},
		"v1SpectroClustersGet":         {read: func(l *look) { l.cluster() }},
		"v1SpectroClustersDelete": {written: func(l *look) {
			if c := l.clusters[l.vars["uid"]]; c != nil {
				c.deleted = true
			}
		}},
		"v1SpectroClustersSummaryUidOverview": {read: func(l *look) {
			l.need("metadata", "status.health.state")
			l.want(l.got, "metadata.uid", l.vars["uid"])
		}},
		"v1SpectroClustersSearchFilterSummary":    {read: func(l *look) { l.search() }},
		"v1SpectroClustersUidKubeConfigClientGet": {read: func(l *look) { l.kubeconfig() }},
		"v1SpectroClustersUidAdminKubeConfig":     {read: func(l *look) { l.kubeconfig() }},
		"v1SpectroClustersUidKubeConfig":          {read: func(l *look) { l.kubeconfig() }},
		"v1SpectroClustersPatchProfiles":          {written: func(l *look) { l.attach() }},
		"v1SpectroClustersDeleteProfiles":         {written: func(l *look) { l.detach() }},
		"v1SpectroClustersUidVariablesGet":        {read: func(l *look) { l.variables() }},
		"v1SpectroClustersUidVariablesPatch":      {written: func(l *look) { l.setVariables() }},
		"v1SpectroClustersUidMetadataUpdate": {written: func(l *look) {
			if c := l.clusters[l.vars["uid"]]; c != nil {
				c.metadata = at(l.sent, "metadata")
			}
		}},
	}
}

func (l *look) newCluster() {
	spec := at(l.sent, "spec")
	c := &cluster{
		metadata: at(l.sent, "metadata"), account: text(spec, "cloudAccountUid"), project: l.project != "", config: at(spec, "cloudConfig"),
		clusterConfig: without(at(spec, "clusterConfig"), "resources", "location"),
		namespaces:    items(spec, "clusterConfig.resources.namespaces"), rbacs: items(spec, "clusterConfig.resources.rbacs"),
		backup: at(spec, "policies.backupPolicy"), scan: at(spec, "policies.scanPolicy"),
	}
	for _, p := range items(spec, "machinepoolconfig") {
		c.pools = append(c.pools, poolOf(p))
	}
	for _, p := range items(spec, "profiles") {
		c.attached = append(c.attached, l.attachment(p))
	}
	remember(l.clusters, l.created(), c)
}

// attachment is what a cluster takes of a profile: its published layers with
// the cluster's own values.
func (l *look) attachment(sent any) attachment {
	a := attachment{uid: text(sent, "uid"), variables: items(sent, "variables")}
	p := l.profiles[a.uid]
	if p == nil || p.published == nil {
		return a
	}
	a.known, a.name, a.kind, a.version = true, text(p.metadata, "name"), p.kind, p.version
	for _, pack := range p.published {
		pack := without(pack)
		if own := named(items(sent, "packValues"), "name", text(pack, "name")); at(own, "values") != nil {
			pack["values"] = at(own, "values")
		}
		a.packs = append(a.packs, pack)
	}
	return a
}

func (l *look) cluster() {
	l.need("metadata.name", "metadata.annotations.scope", "spec.cloudConfigRef.uid", "spec.clusterConfig", "spec.clusterProfileTemplates",
		"status.state", "status.location", "status.repave.state", "status.spcApply", "status.conditions", "status.packs")
	l.want(l.got, "metadata.uid", l.vars["uid"])
	l.want(l.got, "spec.cloudType", "azure")
	l.want(l.got, "spec.cloudConfigRef.kind", "azure")
	l.link(text(l.got, "spec.cloudConfigRef.uid"), l.vars["uid"])
	state := text(l.got, "status.state")
	if !slices.Contains(states, state) {
		l.fault("status.state is %q, which the client takes for an error", state)
	}
	for _, c := range items(l.got, "status.conditions") {
		l.needIn("status.conditions[]", c, "type", "status")
	}
	c := l.clusters[l.vars["uid"]]
	if c == nil {
		return
	}
	if c.deleted && state != "Deleting" && state != "Deleted" {
		l.fault("status.state is %s after DELETE", state)
	}
	l.metadata(object{"metadata": c.metadata}, true)
	scope := "tenant"
	if c.project {
		scope = "project"
		l.need("metadata.annotations.projectUid")
	}
	l.want(l.got, "metadata.annotations.scope", scope)
	if lock := text(l.got, "metadata.annotations.spectroComponentsUpgradeForbidden") == "true"; lock != c.locked {
		l.fault("metadata.annotations.spectroComponentsUpgradeForbidden is %v, written was %v", lock, c.locked)
	}
	e := echo{computed: []string{"spec.clusterConfig.clusterResources", "spec.clusterConfig.clusterRbac", "spec.clusterConfig.machineHealthConfig"}}
	l.differences(e.compare("spec.clusterConfig", c.clusterConfig, at(l.got, "spec.clusterConfig")))
	l.templates(c)
}

// templates judges the profiles of a cluster.
func (l *look) templates(c *cluster) {
	const where = "spec.clusterProfileTemplates"
	got := items(l.got, where)
	if len(got) != len(c.attached) {
		l.fault("%s has %d profiles, attached are %d", where, len(got), len(c.attached))
		return
	}
	for i, a := range c.attached {
		t := got[i]
		l.needIn(where+"[]", t, "uid", "name", "type", "cloudType", "profileVersion", "packs")
		l.want(t, "uid", a.uid)
		if !a.known {
			continue
		}
		l.want(t, "name", a.name)
		l.want(t, "type", a.kind)
		l.want(t, "profileVersion", a.version)
		l.packRefs(where+"[].packs", a.packs, items(t, "packs"))
	}
}

// attach merges: a profile that is named replaces the one that it says, or
// itself, or comes last; the others stay.
func (l *look) attach() {
	c := l.clusters[l.vars["uid"]]
	if c == nil {
		return
	}
	for _, p := range items(l.sent, "profiles") {
		a := l.attachment(p)
		find := func(uid string) int {
			return slices.IndexFunc(c.attached, func(o attachment) bool { return o.uid == uid })
		}
		i := find(text(p, "replaceWithProfile"))
		if i < 0 {
			i = find(a.uid)
		}
		if i < 0 {
			c.attached = append(c.attached, a)
			continue
		}
		c.attached[i] = a
	}
}

func (l *look) detach() {
	c := l.clusters[l.vars["uid"]]
	if c == nil {
		return
	}
	gone := items(l.sent, "profileUids")
	c.attached = slices.DeleteFunc(c.attached, func(a attachment) bool { return slices.Contains(gone, any(a.uid)) })
}

// variables looks that what was set is there; other variables have defaults.
func (l *look) variables() {
	all, is := l.got.(list)
	if !is {
		l.fault("the answer is no list")
	}
	for _, v := range all {
		l.needIn("[]", v, "profileUid", "variables")
	}
	c := l.clusters[l.vars["uid"]]
	if c == nil {
		return
	}
	for _, a := range c.attached {
		got := items(named(all, "profileUid", a.uid), "variables")
		for _, v := range a.variables {
			back := named(got, "name", text(v, "name"))
			if secret, is := at(back, "isSensitive").(bool); is && secret {
				continue
			}
			if text(back, "value") != text(v, "value") {
				l.fault("the variable %s of profile %s is %s, written was %s", text(v, "name"), a.uid, show(back), show(v))
			}
		}
	}
	for _, v := range all {
		if !slices.ContainsFunc(c.attached, func(a attachment) bool { return a.uid == text(v, "profileUid") }) {
			l.fault("variables of the profile %s, which is not attached", text(v, "profileUid"))
		}
	}
}

func (l *look) setVariables() {
	c := l.clusters[l.vars["uid"]]
	if c == nil {
		return
	}
	all, is := l.sent.(list)
	if !is {
		all = list{l.sent}
	}
	for _, s := range all {
		for i := range c.attached {
			if a := &c.attached[i]; a.uid == text(s, "profileUid") {
				for _, v := range items(s, "variables") {
					a.variables = slices.DeleteFunc(slices.Clone(a.variables), func(o any) bool { return text(o, "name") == text(v, "name") })
					a.variables = append(a.variables, v)
				}
			}
		}
	}
}

// search looks for the one cluster of a name that the client asks for.
func (l *look) search() {
	l.need("items", "listmeta")
	if _, is := at(l.got, "listmeta.continue").(string); !is {
		l.fault("listmeta.continue is absent")
	}
	for _, c := range items(l.got, "items") {
		l.needIn("items[]", c, "metadata.uid", "metadata.name")
	}
	name := ""
	for _, g := range items(l.sent, "filter.filterGroups") {
		for _, f := range items(g, "filters") {
			values := items(f, "condition.string.match.values")
			if text(f, "property") == "clusterName" && text(f, "condition.string.operator") == "eq" && len(values) == 1 {
				name, _ = values[0].(string)
			}
		}
	}
	if name == "" {
		return
	}
	for _, uid := range slices.Sorted(maps.Keys(l.clusters)) {
		c := l.clusters[uid]
		if c.deleted || text(c.metadata, "name") != name || !c.project {
			continue
		}
		if all := items(l.got, "items"); len(all) != 1 || text(all[0], "metadata.uid") != uid {
			l.fault("%d clusters are called %s, the client needs %s alone", len(all), name, uid)
		}
	}
}

func (l *look) kubeconfig() {
	if kind, _, _ := strings.Cut(l.header.Get("Content-Type"), ";"); kind != "application/octet-stream" {
		l.fault("the type is %q: the client reads files as application/octet-stream alone", kind)
	}
	body := string(l.raw)
	if plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body)); err == nil {
		body = string(plain)
	}
	if !strings.Contains(body, "kind: Config") || !strings.Contains(body, "server:") {
		l.fault("the file is no kubeconfig")
	}
}
