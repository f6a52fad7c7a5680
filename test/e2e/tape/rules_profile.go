// SPDX-License-Identifier: Apache-2.0

package tape

import "slices"

// profile is a cluster profile as it was last written.
type profile struct {
	metadata             any // name, labels, annotations.description
	version, kind, cloud string
	draft, published     list // packs as sent; nil before the first publication
	variables            any
	variablesKnown       bool
}

const firstVersion = "1.0.0"

// profileRules are of cluster profiles: packs come back in their order, with
// tag and values as they were written.
func profileRules() map[string]rule {
	return map[string]rule{
		"v1ClusterProfilesCreate": {written: func(l *look) {
			t := at(l.sent, "spec.template")
			p := &profile{
				metadata: at(l.sent, "metadata"), version: text(l.sent, "spec.version"), kind: text(t, "type"), cloud: text(t, "cloudType"),
				draft: items(t, "packs"), variables: at(l.sent, "spec.variables"), variablesKnown: true,
			}
			if p.version == "" {
				p.version = firstVersion
			}
			remember(l.profiles, l.created(), p)
		}},
		"v1ClusterProfilesUpdate": {written: func(l *look) {
			if p := l.profiles[l.vars["uid"]]; p != nil {
				p.draft = items(l.sent, "spec.template.packs")
				if v := text(l.sent, "spec.version"); v != "" {
					p.version = v
				}
			}
		}},
		"v1ClusterProfilesUidMetadataUpdate": {written: func(l *look) {
			if p := l.profiles[l.vars["uid"]]; p != nil {
				p.metadata = at(l.sent, "metadata")
				if v := text(l.sent, "spec.version"); v != "" {
					p.version = v
				}
			}
		}},
		"v1ClusterProfilesPublish": {written: func(l *look) {
			if p := l.profiles[l.vars["uid"]]; p != nil {
				p.published = p.draft
			}
		}},
		"v1ClusterProfilesDelete": {written: func(l *look) { delete(l.profiles, l.vars["uid"]) }},
		"v1ClusterProfilesGet":    {read: func(l *look) { l.profile() }},
		"V1ClusterProfilesUidVariablesPut": {written: func(l *look) {
			if p := l.profiles[l.vars["uid"]]; p != nil {
				p.variables = at(l.sent, "variables")
			}
		}},
		"V1ClusterProfilesUidVariablesPatch": {written: func(l *look) {
			if p := l.profiles[l.vars["uid"]]; p != nil {
				p.variablesKnown = false
			}
		}},
		"V1ClusterProfilesUidVariablesGet": {read: func(l *look) {
			l.need("variables")
			if p := l.profiles[l.vars["uid"]]; p != nil && p.variablesKnown {
				e := echo{computed: []string{"variables[].inputType"}}
				l.differences(e.compare("variables", unmasked(p.variables), unmasked(at(l.got, "variables"))))
			}
		}},
		"v1ClusterProfilesUidPacksUidManifests": {read: func(l *look) { l.packManifests() }},
		"v1ClusterProfilesMetadata": {read: func(l *look) {
			for _, p := range items(l.got, "items") {
				l.needIn("items[]", p, "metadata.name", "metadata.uid", "spec.version", "spec.cloudType")
			}
		}},
	}
}

// unmasked are variables without the secrets, which not everybody is shown.
func unmasked(variables any) any {
	out := list{}
	for _, v := range items(variables, "") {
		if secret, is := at(v, "isSensitive").(bool); is && secret {
			v = without(v, "defaultValue")
		}
		out = append(out, v)
	}
	return out
}

func (l *look) profile() {
	l.need("metadata.name", "metadata.annotations.scope", "spec.version", "spec.versions")
	l.want(l.got, "metadata.uid", l.vars["uid"])
	p := l.profiles[l.vars["uid"]]
	if p == nil {
		return
	}
	l.metadata(object{"metadata": p.metadata}, true)
	l.want(l.got, "spec.version", p.version)
	versions := items(l.got, "spec.versions")
	if named(versions, "uid", l.vars["uid"]) == nil || named(versions, "version", p.version) == nil {
		l.fault("spec.versions lacks this version: %s", show(versions))
	}
	if p.published == nil {
		return
	}
	l.need("spec.published")
	got := at(l.got, "spec.published")
	l.want(got, "type", p.kind)
	l.want(got, "cloudType", p.cloud)
	l.want(got, "profileVersion", p.version)
	l.packRefs("spec.published.packs", p.published, items(got, "packs"))
}

// packRefs compares the packs of a template with what was sent for them.
func (l *look) packRefs(where string, sent, got list) {
	if len(sent) != len(got) {
		l.fault("%s has %d packs, written were %d", where, len(got), len(sent))
		return
	}
	for i, s := range sent {
		g := got[i]
		l.needIn(where+"[]", g, "name", "layer", "packUid")
		for _, name := range []string{"name", "tag", "type", "registryUid", "values"} {
			if d := (echo{trimmed: []string{"values"}}).compare(where+"[]."+name, at(s, name), at(g, name)); at(s, name) != nil {
				l.differences(d)
			}
		}
		l.packUID(where, s, g)
		var names, back []string
		for _, m := range items(s, "manifests") {
			names = append(names, text(m, "name"))
		}
		for _, m := range items(g, "manifests") {
			back = append(back, text(m, "name"))
			l.needIn(where+"[].manifests[]", m, "uid")
			l.manifests[text(m, "name")] = text(m, "uid")
		}
		if !slices.Equal(names, back) {
			l.fault("%s[] of %s has the manifests %q, written were %q", where, text(s, "name"), back, names)
		}
	}
}

// packUID looks that the uid that was sent comes back, unless it is of another
// version than the tag: the client sends the uid that it read before along with
// a new tag.
func (l *look) packUID(where string, sent, got any) {
	uid, tag := text(sent, "uid"), text(sent, "tag")
	if uid == "" {
		return
	}
	tags, known := l.packTags[uid]
	stale := known && tag != "" && !slices.Contains(tags, tag)
	switch same := text(got, "packUid") == uid; {
	case same && stale:
		l.fault("%s[].packUid of %s is %s still, which is not %s", where, text(sent, "name"), uid, tag)
	case !same && !stale && (known || text(sent, "type") == "manifest"):
		l.fault("%s[].packUid of %s is %q, written was %q", where, text(sent, "name"), text(got, "packUid"), uid)
	}
}

// learnTags takes which tags a pack's uid stands for from an answer that tells.
func (l *look) learnTags(tags list) {
	for _, t := range tags {
		known := []string{text(t, "version"), text(t, "tag"), text(t, "group")}
		for _, parent := range items(t, "parentTags") {
			if s, is := parent.(string); is {
				known = append(known, s)
			}
		}
		l.packTags[text(t, "packUid")] = known
	}
}

// packManifests judges the contents of the manifests of one pack.
func (l *look) packManifests() {
	for _, m := range items(l.got, "items") {
		l.needIn("items[]", m, "metadata.name", "metadata.uid", "spec.published.content")
	}
	p := l.profiles[l.vars["uid"]]
	if p == nil {
		return
	}
	sent := items(named(p.published, "name", l.vars["packName"]), "manifests")
	got := items(l.got, "items")
	if len(sent) != len(got) {
		l.fault("%d manifests, written were %d", len(got), len(sent))
		return
	}
	for i, m := range sent {
		l.want(got[i], "metadata.name", at(m, "name"))
		if content := at(m, "content"); !zero(content) { // else what was there is kept
			l.differences(echo{trimmed: []string{"content"}}.compare("items[].spec.published.content", content, at(got[i], "spec.published.content")))
		}
	}
}
