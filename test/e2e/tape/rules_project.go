// SPDX-License-Identifier: Apache-2.0

package tape

// projectRules are of projects and their macros.
func projectRules() map[string]rule {
	return map[string]rule{
		"v1ProjectsCreate":    {written: func(l *look) { remember(l.projects, l.created(), l.sent) }},
		"v1ProjectsUidUpdate": {written: func(l *look) { l.projects[l.vars["uid"]] = l.sent }},
		"v1ProjectsUidDelete": {written: func(l *look) { delete(l.projects, l.vars["uid"]) }},
		"v1ProjectsUidGet": {read: func(l *look) {
			l.need("metadata.name")
			l.want(l.got, "metadata.uid", l.vars["uid"])
			if sent, known := l.projects[l.vars["uid"]]; known {
				l.metadata(sent, true)
			}
		}},
		"v1ProjectsUidMacrosCreate": {written: func(l *look) {
			l.macros[l.vars["uid"]] = append(l.macros[l.vars["uid"]], items(l.sent, "macros")...)
		}},
		"v1ProjectsUidMacrosUpdate": {written: func(l *look) { l.macros[l.vars["uid"]] = items(l.sent, "macros") }},
		"v1ProjectsUidMacrosDeleteByMacroName": {written: func(l *look) {
			var left list
			for _, m := range l.macros[l.vars["uid"]] {
				if named(items(l.sent, "macros"), "name", text(m, "name")) == nil {
					left = append(left, m)
				}
			}
			l.macros[l.vars["uid"]] = left
		}},
		"v1ProjectsUidMacrosList": {read: func(l *look) {
			sent, known := l.macros[l.vars["uid"]]
			if !known {
				return
			}
			for _, m := range sent {
				if got := named(items(l.got, "macros"), "name", text(m, "name")); text(got, "value") != text(m, "value") {
					l.fault("the macro %s is %s, written was %s", text(m, "name"), show(got), show(m))
				}
			}
			if n := len(items(l.got, "macros")); n != len(sent) {
				l.fault("there are %d macros, written were %d", n, len(sent))
			}
		}},
	}
}
