// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"regexp"
	"strings"
)

// publicRegistry is the name that the client looks for when a pack of a profile
// names no registry.
const publicRegistry = "Public Repo"

// packRules are of registries and packs: the client takes names for unique and
// insists on exactly one pack.
func packRules() map[string]rule {
	return map[string]rule{
		"v1ProjectsMetadata": {read: func(l *look) {
			all := items(l.got, "items")
			for _, p := range all {
				l.needIn("items[]", p, "metadata.name", "metadata.uid")
			}
			l.distinct(all, "metadata.name")
		}},
		"v1RegistriesMetadata": {read: func(l *look) {
			all := items(l.got, "items")
			for _, r := range all {
				l.needIn("items[]", r, "uid", "name", "kind")
			}
			if named(all, "name", publicRegistry) == nil {
				l.fault("there is no registry %s", publicRegistry)
			}
			l.distinct(all, "name")
		}},
		"v1RegistriesPackList": {read: func(l *look) {
			for _, r := range items(l.got, "items") {
				l.needIn("items[]", r, "metadata.name", "metadata.uid")
			}
			l.distinct(items(l.got, "items"), "metadata.name")
		}},
		"v1RegistriesPackUidSyncStatus": {read: func(l *look) { l.need("isSyncSupported") }},
		"v1PacksSummaryList":            {read: func(l *look) { l.packs() }},
		"v1PacksSearch":                 {read: func(l *look) { l.packSearch() }},
		"v1PacksUid": {read: func(l *look) {
			l.need("name", "registryUid", "packValues")
			l.learnTags(items(l.got, "tags"))
			if named(items(l.got, "packValues"), "packUid", l.vars["uid"]) == nil {
				l.fault("packValues lacks the pack %s that was asked for", l.vars["uid"])
			}
		}},
		"v1PacksNameRegistryUidList": {read: func(l *look) {
			l.want(l.got, "name", l.vars["packName"])
			l.want(l.got, "registryUid", l.vars["registryUid"])
			if len(items(l.got, "tags")) == 0 {
				l.fault("there are no tags")
			}
			l.learnTags(items(l.got, "tags"))
			for _, t := range items(l.got, "tags") {
				l.needIn("tags[]", t, "version", "packUid")
				if named(items(l.got, "packValues"), "packUid", text(t, "packUid")) == nil {
					l.fault("packValues lacks the pack of the tag %q", text(t, "version"))
				}
			}
		}},
	}
}

// filterTerm is one term of the filters of a list of packs.
var filterTerm = regexp.MustCompile(`spec\.(name|version)=([^=]*?)(?:AND|$)`)

func (l *look) packs() {
	l.need("items", "listmeta")
	want := map[string]string{}
	for _, m := range filterTerm.FindAllStringSubmatch(l.query.Get("filters"), -1) {
		want[m[1]] = m[2]
	}
	all := items(l.got, "items")
	for _, p := range all {
		l.needIn("items[]", p, "metadata.uid", "spec.name", "spec.version", "spec.registryUid", "spec.values", "spec.cloudTypes")
		for k, v := range want {
			if text(p, "spec."+k) != v {
				l.fault("items[] has spec.%s %q, asked was %q", k, text(p, "spec."+k), v)
			}
		}
	}
	for _, p := range all {
		l.packNames[text(p, "spec.name")] = true
	}
	if want["name"] != "" && want["version"] != "" && len(all) != 1 {
		l.fault("%d packs are %s %s: the client takes exactly one", len(all), want["name"], want["version"])
	}
}

// semver is what the client can compare.
var semver = regexp.MustCompile(`^v?\d+\.\d+(\.\d+)?(-[0-9A-Za-z.-]+)?$`)

func (l *look) packSearch() {
	l.need("items", "listmeta")
	all := items(l.got, "items")
	if name := text(l.sent, "filter.name.eq"); name != "" && (len(all) > 1 || len(all) == 0 && l.packNames[name]) {
		l.fault("%d packs are called %s: the client takes exactly one, whatever the environment", len(all), name)
	}
	for _, p := range all {
		l.needIn("items[]", p, "spec.name", "spec.layer")
		if len(items(p, "spec.registries")) == 0 {
			l.fault("items[] of %s has no registries", text(p, "spec.name"))
		}
		for _, r := range items(p, "spec.registries") {
			l.needIn("items[].spec.registries[]", r, "uid", "latestVersion")
			if v := text(r, "latestVersion"); !semver.MatchString(strings.TrimSpace(v)) {
				l.fault("the latest version %q is no version", v)
			}
		}
	}
}
