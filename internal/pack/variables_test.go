// SPDX-License-Identifier: Apache-2.0

package pack_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/internal/pack"
)

func TestValidateVariables(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		vars   []pack.Variable
		want   string // path of the finding, "" is none
	}{
		{"the least there is", []pack.Variable{{Name: "a"}}, ""},
		{"no name", []pack.Variable{{}}, "name"},
		{"a blank", []pack.Variable{{Name: "a b"}}, "name"},
		{"a name twice", []pack.Variable{{Name: "a"}, {Name: "a"}}, "name"},
		{"a title twice", []pack.Variable{{Name: "a", DisplayName: "A"}, {Name: "b", DisplayName: "A"}}, "displayName"},
		{"no titles", []pack.Variable{{Name: "a"}, {Name: "b"}}, ""},
		{"a format", []pack.Variable{{Name: "a", Format: "date"}}, "format"},
		{"an input", []pack.Variable{{Name: "a", InputType: "slider"}}, "inputType"},
		{"an expression that RE2 has not", []pack.Variable{{Name: "a", Regex: "(?=x)"}}, "regex"},
		{"immutable without a default", []pack.Variable{{Name: "a", Immutable: true}}, "defaultValue"},
		{"hidden and required without a default", []pack.Variable{{Name: "a", Hidden: true, Required: true}}, "defaultValue"},
		{"hidden", []pack.Variable{{Name: "a", Hidden: true}}, ""},
		{"a number", []pack.Variable{{Name: "a", Format: "number", DefaultValue: "-1.5"}}, ""},
		{"no number", []pack.Variable{{Name: "a", Format: "number", DefaultValue: "1x"}}, "defaultValue"},
		{"a boolean", []pack.Variable{{Name: "a", Format: "boolean", DefaultValue: "true"}}, ""},
		{"yes is no boolean", []pack.Variable{{Name: "a", Format: "boolean", DefaultValue: "yes"}}, "defaultValue"},
		{"an address", []pack.Variable{{Name: "a", Format: "ipv4", DefaultValue: "10.0.0.1"}}, ""},
		{"an address of the other family", []pack.Variable{{Name: "a", Format: "ipv4", DefaultValue: "fd00::1"}}, "defaultValue"},
		{"a range", []pack.Variable{{Name: "a", Format: "ipv4cidr", DefaultValue: "10.0.0.0/8"}}, ""},
		{"a range without its length", []pack.Variable{{Name: "a", Format: "ipv4cidr", DefaultValue: "10.0.0.0"}}, "defaultValue"},
		{"six", []pack.Variable{{Name: "a", Format: "ipv6", DefaultValue: "fd00::1"}}, ""},
		{"four for six", []pack.Variable{{Name: "a", Format: "ipv6", DefaultValue: "10.0.0.1"}}, "defaultValue"},
		{"a version", []pack.Variable{{Name: "a", Format: "version", DefaultValue: "1.2.3-rc.1+b"}}, ""},
		{"two numbers", []pack.Variable{{Name: "a", Format: "version", DefaultValue: "1.2"}}, "defaultValue"},
		{"base64", []pack.Variable{{Name: "a", Format: "base64", DefaultValue: "YQ=="}}, ""},
		{"no base64", []pack.Variable{{Name: "a", Format: "base64", DefaultValue: "a"}}, "defaultValue"},
		{"a default beside the pattern", []pack.Variable{{Name: "a", Regex: "^x$", DefaultValue: "y"}}, "defaultValue"},
		{"lines in one line", []pack.Variable{{Name: "a", DefaultValue: "x\ny"}}, "defaultValue"},
		{"lines", []pack.Variable{{Name: "a", InputType: "multiline", DefaultValue: "x\ny"}}, ""},
		{"a reference in a default", []pack.Variable{{Name: "a", DefaultValue: "{{ .spectro.macro.x }}"}}, "defaultValue"},
		{"a dropdown without options", []pack.Variable{{Name: "a", InputType: "dropdown"}}, "options"},
		{"a default by its label", []pack.Variable{{Name: "a", InputType: "dropdown", DefaultValue: "Small",
			Options: []pack.VariableOption{{Label: "Small", Value: "s"}}}}, ""},
		{"a default that is no option", []pack.Variable{{Name: "a", InputType: "dropdown", DefaultValue: "x",
			Options: []pack.VariableOption{{Label: "Small", Value: "s"}}}}, "defaultValue"},
		{"the default among the options", []pack.Variable{{Name: "a", InputType: "dropdown", Immutable: true,
			Options: []pack.VariableOption{{Value: "s", Default: true}}}}, ""},
		{"two defaults", []pack.Variable{{Name: "a", InputType: "dropdown",
			Options: []pack.VariableOption{{Value: "s", Default: true}, {Value: "m", Default: true}}}}, "options[1].default"},
		{"an option twice", []pack.Variable{{Name: "a", InputType: "dropdown",
			Options: []pack.VariableOption{{Value: "s"}, {Value: "s"}}}}, "options[1].value"},
		{"an option that has not the format", []pack.Variable{{Name: "a", InputType: "dropdown", Format: "number", DefaultValue: "x",
			Options: []pack.VariableOption{{Value: "x"}}}}, "defaultValue"},
	} {
		found := pack.ValidateVariables("spec.variables", tc.vars)
		switch {
		case tc.want == "" && len(found) > 0:
			t.Errorf("%s: %+v", tc.reason, found)
		case tc.want != "" && (len(found) != 1 || !strings.HasSuffix(found[0].Path, "]."+tc.want)):
			t.Errorf("%s: %+v, want one about %s", tc.reason, found, tc.want)
		}
	}
}

func TestCheckValues(t *testing.T) {
	t.Parallel()
	vars := []pack.Variable{
		{Name: "port", Format: "number", DefaultValue: "80"},
		{Name: "fixed", Immutable: true, DefaultValue: "f"},
		{Name: "must", Required: true},
		{Name: "size", InputType: "dropdown", Options: []pack.VariableOption{{Label: "Small", Value: "s", Default: true}, {Value: "m"}}},
		{Name: "secret", IsSensitive: true, Regex: "^[a-z]+$"},
	}
	must := pack.Value{Name: "must", Value: "x"}
	for _, tc := range []struct {
		reason string
		given  []pack.Value
		want   string // path and code
	}{
		{"what is required", []pack.Value{must}, ""},
		{"nothing", nil, "v VariableValueMissing"},
		{"required and empty", []pack.Value{{Name: "must"}}, "v VariableValueMissing"},
		{"all", []pack.Value{must, {Name: "port", Value: "81"}, {Name: "size", Value: "m"}, {Name: "secret", Value: "abc"}}, ""},
		{"unknown", []pack.Value{must, {Name: "x", Value: "1"}}, "v[1].name VariableValueInvalid"},
		{"twice", []pack.Value{must, must}, "v[1].name VariableValueInvalid"},
		{"no number", []pack.Value{must, {Name: "port", Value: "http"}}, "v[1].value VariableValueInvalid"},
		{"immutable", []pack.Value{must, {Name: "fixed", Value: "g"}}, "v[1].value VariableValueInvalid"},
		{"immutable, and the same", []pack.Value{must, {Name: "fixed", Value: "f"}}, ""},
		{"by label", []pack.Value{must, {Name: "size", Value: "Small"}}, ""},
		{"no option", []pack.Value{must, {Name: "size", Value: "xl"}}, "v[1].value VariableValueInvalid"},
		{"a secret that does not fit", []pack.Value{must, {Name: "secret", Value: "CANARY1"}}, "v[1].value VariableValueInvalid"},
	} {
		got := ""
		for _, f := range pack.CheckValues("v", vars, tc.given, true) {
			got += f.Path + " " + f.Code
			if strings.Contains(f.Message, "CANARY") {
				t.Errorf("%s: a secret in %q", tc.reason, f.Message)
			}
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.reason, got, tc.want)
		}
	}
	if found := pack.CheckValues("v", vars, nil, false); found != nil {
		t.Errorf("an incomplete list: %v", found)
	}
	got := pack.EffectiveValues(vars, []pack.Value{{Name: "port", Value: "81"}, {Name: "fixed", Value: "g"}, {Name: "other", Value: "1"}})
	want := map[string]string{"port": "81", "fixed": "f", "must": "", "size": "s", "secret": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effective (-want +got):\n%s", diff)
	}
	if got := pack.EffectiveValues(vars, []pack.Value{{Name: "size", Value: "Small"}})["size"]; got != "s" {
		t.Errorf("a label stands for %q", got)
	}
}

func TestSecretsOfVariables(t *testing.T) {
	t.Parallel()
	const sent = `[{"name":"a","defaultValue":"open","isSensitive":false},` +
		`{"isSensitive":true, "defaultValue" : "se\"cret","name":"b","x":[1,{"defaultValue":"inner"}]},{"name":"c","isSensitive":true}]`
	kept, secrets, err := pack.SplitSecrets(json.RawMessage(sent))
	if err != nil || strings.Contains(string(kept), "cret") || len(secrets) != 1 || secrets["b"] != `se"cret` {
		t.Fatalf("%s, %v, %v", kept, secrets, err)
	}
	back, err := pack.JoinSecrets(kept, secrets)
	if err != nil {
		t.Fatal(err)
	}
	var was, is any
	for text, dst := range map[string]*any{sent: &was, string(back): &is} {
		if err := json.Unmarshal([]byte(text), dst); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(was, is); diff != "" {
		t.Errorf("(-sent +got):\n%s", diff)
	}
	masked, err := pack.MaskSecrets(kept, []string{"b"})
	if err != nil || strings.Count(string(masked), pack.MaskedValue) != 1 || strings.Contains(string(masked), "cret") {
		t.Errorf("%s, %v", masked, err)
	}
	for _, none := range []string{"", "null", "[]", " [ ] "} {
		if kept, secrets, err := pack.SplitSecrets(json.RawMessage(none)); err != nil || string(kept) != none || len(secrets) > 0 {
			t.Errorf("%q: %q, %v, %v", none, kept, secrets, err)
		}
	}
}
