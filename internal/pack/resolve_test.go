// SPDX-License-Identifier: Apache-2.0

package pack_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
)

// scoped makes a profile of one add-on with values.
func scoped(values string, manifests ...string) pack.ScopedProfile {
	l := with(addon(), values)
	for _, m := range manifests {
		l.Manifests = append(l.Manifests, lazuli.Manifest{Name: "m", Content: m})
	}
	return pack.ScopedProfile{
		ProfileSnapshot: lazuli.ProfileSnapshot{UID: "p1", Name: "web", ProfileVersion: "1.2.0", Type: "add-on", Layers: []lazuli.Layer{l}},
		Values: map[string]string{
			"n": "3", "port": "8080", "yes": "true", "text": "a: b # c", "quote": `x"y'z`, "my-name.x": "hyphen", "empty": "",
			"lines": "one\ntwo: 2\n", "evil": "x\"\nhostNetwork: true\ny: \"", "octal": "0644", "loop": "{{ .spectro.var.n }}",
		},
	}
}

func scope() pack.Scope {
	return pack.Scope{
		Macros: pack.MergeMacros([]lazuli.Macro{{Name: "region", Value: "tenant"}, {Name: "only", Value: "t"}}, []lazuli.Macro{{Name: "region", Value: "project"}}),
		System: map[string]string{"cluster.name": "prod"},
	}
}

func TestResolveProfiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ reason, values, want string }{
		{"in quotes it is a string", `a: '{{.spectro.var.n}}'`, `{"a":"3"}`},
		{"alone it is a number", `a: {{.spectro.var.n}}`, `{"a":3}`},
		{"alone it is a boolean", `a: {{ .spectro.var.yes }}`, `{"a":true}`},
		{"what YAML would read as octal is a string", `a: {{ .spectro.var.octal }}`, `{"a":"0644"}`},
		{"nothing is an empty string, not a null that deletes", `a: {{ .spectro.var.empty }}`, `{"a":""}`},
		{"inside a text", `a: "http://x:{{.spectro.var.port}}/{{ .spectro.var.n }}"`, `{"a":"http://x:8080/3"}`},
		{"unquoted inside a text", `a: x-{{.spectro.var.n}}-y`, `{"a":"x-3-y"}`},
		{"text that looks like YAML", `a: {{.spectro.var.text}}`, `{"a":"a: b # c"}`},
		{"quotes", `a: "{{.spectro.var.quote}}"`, `{"a":"x\"y'z"}`},
		{"quotes in quotes", `a: '{{.spectro.var.quote}}'`, `{"a":"x\"y'z"}`},
		{"lines", "a: '{{.spectro.var.lines}}'", `{"a":"one\ntwo: 2\n"}`},
		{"in a block", "a: |\n  x={{.spectro.var.n}}\n  {{.spectro.var.lines}}\nb: 1", `{"a":"x=3\none\ntwo: 2\n\n","b":1}`},
		{"what would break out stays inside", `a: "{{.spectro.var.evil}}"`, `{"a":"x\"\nhostNetwork: true\ny: \""}`},
		{"the same unquoted", `a: {{.spectro.var.evil}}`, `{"a":"x\"\nhostNetwork: true\ny: \""}`},
		{"in a key", `{{.spectro.var.port}}: 1`, `{"8080":1}`},
		{"in a flow", `a: [{{.spectro.var.n}}, "{{.spectro.var.n}}"]`, `{"a":[3,"3"]}`},
		{"a name with a hyphen and a point", `a: "{{ .spectro.var.my-name.x }}"`, `{"a":"hyphen"}`},
		{"no second look at what was filled in", `a: "{{ .spectro.var.loop }}"`, `{"a":"{{ .spectro.var.n }}"}`},
		{"the project's macro before the tenant's", `a: "{{.spectro.macro.region}}"`, `{"a":"project"}`},
		{"the tenant's macro", `a: "{{ .spectro.macro.only }}"`, `{"a":"t"}`},
		{"a default", `a: '{{ .spectro.macro.none | default "x" }}'`, `{"a":"x"}`},
		{"a default in double quotes", `a: "{{ .spectro.macro.none | default \"x\" }}"`, `{"a":"x"}`},
		{"a default that is not needed", `a: '{{ .spectro.macro.only | default "x" }}'`, `{"a":"t"}`},
		{"functions", `a: '{{ .spectro.macro.only | upper | b64enc | quote }}'`, `{"a":"\"VA==\""}`},
		{"a system macro", `a: '{{ .spectro.system.cluster.name }}'`, `{"a":"prod"}`},
		{"the profile's own", `a: '{{ .spectro.system.clusterprofile.name }} {{ .spectro.system.clusterprofile.version }}'`, `{"a":"web 1.2.0"}`},
		{"a pack's value", "hello: {replicas: 7}\na: '{{ .spectro.pack.hello-lazuli.hello.replicas }}'", `{"a":"7","hello":{"replicas":7}}`},
		{"a pack's value that its author set", "a: '{{ .spectro.pack.hello-lazuli.hello.replicas }}'", `{"a":"2"}`},
		{"a pack's value with a variable", "hello: {message: 'x{{.spectro.var.n}}'}\na: '{{ .spectro.pack.hello-lazuli.hello.message }}'", `{"a":"x3","hello":{"message":"x3"}}`},
		{"a pack that is not there", "a: 'x{{ .spectro.pack.none.y }}'", `{"a":"x"}`},
		{"a pack that is not there, with a default", "a: '{{ .spectro.pack.none.y | default \"z\" }}'", `{"a":"z"}`},
		{"a circle", "a: 'x{{ .spectro.pack.hello-lazuli.a }}'", `{"a":"x"}`},
		{"others' templates stay", `a: "{{ .Values.x }} {{ .spectro.var.n }}"`, `{"a":"{{ .Values.x }} 3"}`},
		{"a name in quotes is none", `a: '{{ "x.spectro.var.y" }}'`, `{"a":"{{ \"x.spectro.var.y\" }}"}`},
		{"a comment has no effect", "a: 1 # {{ .spectro.var.unknown }}", `{"a":1}`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			p := scoped(tc.values)
			got, err := builtin(t).ResolveProfiles([]pack.ScopedProfile{p}, scope())
			if err != nil {
				t.Fatal(err)
			}
			js, err := yaml.YAMLToJSONStrict([]byte(got[0].Layers[0].Values))
			if err != nil || string(js) != tc.want {
				t.Errorf("got %s, %v; want %s\n%s", js, err, tc.want, got[0].Layers[0].Values)
			}
			if p.Layers[0].Values != tc.values {
				t.Error("what was given was changed")
			}
		})
	}
}

func TestResolveLeavesAlone(t *testing.T) {
	t.Parallel()
	const values = "# mine\na:   {{x}}\n'b' : \"{{ .Values.spectro }}\"\n"
	const manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{.spectro.var.n}}'}\n---\n# empty\n---\n" +
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"
	got, err := builtin(t).ResolveProfiles([]pack.ScopedProfile{scoped(values, values, manifest)}, scope())
	if err != nil {
		t.Fatal(err)
	}
	l := got[0].Layers[0]
	if l.Values != values || l.Manifests[0].Content != values {
		t.Errorf("a text without expressions was changed: %q", l.Values)
	}
	if n := strings.Count(l.Manifests[1].Content, "kind: ConfigMap"); n != 2 || !strings.Contains(l.Manifests[1].Content, `name: '3'`) {
		t.Errorf("%q", l.Manifests[1].Content)
	}
}

func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 200<<10)
	for _, tc := range []struct{ reason, values, want string }{
		{"a variable that is not declared", `a: '{{ .spectro.var.nope }}'`, ".spectro.var.nope"},
		{"a macro that is not defined", `a: '{{ .spectro.macro.nope }}'`, ".spectro.macro.nope"},
		{"a namespace", `a: '{{ .spectro.other.x }}'`, "are known"},
		{"a condition", `a: '{{ if .spectro.var.n }}x{{ end }}'`, "expression"},
		{"an assignment", `a: '{{ $x := .spectro.var.n }}'`, "expression"},
		{"printf, which can print for ever", `a: '{{ printf "%0999999999d" .spectro.var.n }}'`, "printf is not a function"},
		{"calls", `a: '{{ call .spectro.var.n }}'`, "call is not a function"},
		{"the inner function", `a: '{{ lazuliReference "var" .spectro.var.n }}'`, "not a function"},
		{"data", `a: '{{ .spectro.var.n | default . }}'`, "not served"},
		{"growth", `a: '{{ .spectro.macro.huge | replace "x" "yyyy" }}'`, "larger than"},
		{"growth by quotes", `a: '{{ .spectro.macro.huge | b64enc | b64enc }}'`, "larger than"},
		{"a map of a pack", `a: '{{ .spectro.pack.hello-lazuli.hello }}'`, "not one value"},
		{"no YAML", "a: [\nb: '{{ .spectro.var.n }}'", "YAML"},
		{"an anchor", "a: &{{.spectro.var.n}} 1", "no value can be"},
	} {
		s := scope()
		s.Macros["huge"] = huge
		_, err := builtin(t).ResolveProfiles([]pack.ScopedProfile{scoped(tc.values)}, s)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), `"hello-lazuli"`) {
			t.Errorf("%s: %v, want it to tell %q and the pack", tc.reason, err, tc.want)
		}
		if undefined := strings.HasPrefix(tc.want, ".spectro.var"); undefined != (lazuli.CodeOf(err) == lazuli.CodeVariablesUndefined) {
			t.Errorf("%s: code %s", tc.reason, lazuli.CodeOf(err))
		}
	}
}

func TestValidateProfile(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	vars := []pack.Variable{{Name: "n", Format: "number", DefaultValue: "3"}, {Name: "open"}}
	k8s := infra()[1:2]
	for _, tc := range []struct {
		reason, kind string
		layers       []lazuli.Layer
		want         []string
	}{
		{"a default is tried", "add-on", []lazuli.Layer{with(addon(), "hello: {replicas: {{.spectro.var.n}}}")}, nil},
		{"and it is found wrong", "add-on", []lazuli.Layer{with(addon(), "hello: {replicas: 'x{{.spectro.var.n}}'}")}, []string{"spec.template.packs[0].values PackValuesInvalid"}},
		{"what is not known yet", "add-on", []lazuli.Layer{with(addon(), "hello: {replicas: {{.spectro.var.open}}}")}, nil},
		{"a macro may come later", "add-on", []lazuli.Layer{with(addon(), "hello: {replicas: {{.spectro.macro.m}}}")}, nil},
		{"a variable may not", "add-on", []lazuli.Layer{with(addon(), "hello: {message: '{{.spectro.var.x}}{{.spectro.var.x}}'}")}, []string{"spec.template.packs[0].values PackVariablesUndefined"}},
		{"in a manifest", "add-on", []lazuli.Layer{manifest("kind: {{.spectro.var.x}}")}, []string{"spec.template.packs[0].manifests[0].content PackVariablesUndefined"}},
		{"a manifest that is known later", "add-on", []lazuli.Layer{manifest("{{.spectro.var.open}}: x")}, nil},
		{"what cannot be read", "add-on", []lazuli.Layer{with(addon(), "a: '{{.spectro.var}}'")}, []string{"spec.template.packs[0].values PackTemplateInvalid"}},
		{"core layers may be missing", "cluster", k8s, nil},
		{"and of infra too", "infra", k8s, nil},
		{"order still holds", "infra", []lazuli.Layer{infra()[2], infra()[1]}, []string{"spec.template.packs[1] LayerOrder"}},
	} {
		var got []string
		found := r.ValidateProfile(tc.kind, tc.layers, vars, pack.Scope{})
		for _, f := range found {
			got = append(got, f.Path+" "+f.Code)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%+v", tc.reason, diff, found)
		}
	}
	found := r.ValidateProfile("add-on", []lazuli.Layer{with(addon(), "a: '{{.spectro.var.x}}'")}, nil, pack.Scope{})
	err := found.Err()
	if lazuli.CodeOf(err) != lazuli.CodeVariablesUndefined || !strings.Contains(err.Error(), "hello-lazuli") || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("got %v", err)
	}
}

func TestImply(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	kinds := func(layers []lazuli.Layer) (out []string) {
		for _, l := range layers {
			mark := ""
			if l.Implied {
				mark = "+"
			}
			out = append(out, mark+l.Name+" "+l.Tag)
		}
		return out
	}
	k8s := lazuli.Layer{Name: "kubernetes", Tag: "1.36.6"}
	all, notices := r.Imply([]lazuli.Layer{k8s, addon()}, nil)
	if diff := cmp.Diff([]string{"+ubuntu-azure 24.04", "kubernetes 1.36.6", "+cni-calico-azure 3.33.0", "+csi-azure 1.34.5", "hello-lazuli 1.0.0"}, kinds(all)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(notices) != 3 || r.Validate("cluster", all) != nil {
		t.Errorf("%v, %v", notices, r.Validate("cluster", all))
	}
	before := []lazuli.Layer{{Name: "cni-calico-azure", Tag: "3.29.4", Layer: "cni"}}
	got, _ := r.Imply([]lazuli.Layer{k8s}, before)
	if diff := cmp.Diff("+cni-calico-azure 3.29.4", kinds(got)[2]); diff != "" {
		t.Errorf("what was there (-want +got):\n%s", diff)
	}
	if got, notices := r.Imply(infra(), before); len(notices) > 0 || len(got) != 4 {
		t.Errorf("complete already: %v, %v", kinds(got), notices)
	}
}
