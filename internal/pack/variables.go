// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lazuli-dev/lazuli"
)

// The formats of a variable's value; "" is FormatString.
const (
	FormatString   = "string"
	FormatNumber   = "number"
	FormatBoolean  = "boolean"
	FormatIPv4     = "ipv4"
	FormatIPv4CIDR = "ipv4cidr"
	FormatIPv6     = "ipv6"
	FormatVersion  = "version" // semantic version
	FormatBase64   = "base64"
)

// The ways a value is asked for; "" is InputText.
const (
	InputText      = "text"
	InputDropdown  = "dropdown"
	InputMultiline = "multiline"
)

// Bounds of variables.
const (
	maxVariables     = 500
	maxVariableValue = 64 << 10 // bytes
	maxVariableText  = 4 << 10  // bytes of a description, name, label or expression
	maxOptions       = 500
)

// Variable is the declaration of a variable in a profile, in the wire's form.
type Variable struct {
	DefaultValue string           `json:"defaultValue"`
	Description  string           `json:"description"`
	DisplayName  string           `json:"displayName"`
	Format       string           `json:"format"`
	Hidden       bool             `json:"hidden"`
	Immutable    bool             `json:"immutable"`
	InputType    string           `json:"inputType"`
	IsSensitive  bool             `json:"isSensitive"`
	Name         string           `json:"name"`
	Options      []VariableOption `json:"options"`
	Regex        string           `json:"regex"`
	Required     bool             `json:"required"`
}

// VariableOption is a choice of a dropdown. What a template gets is its Value.
type VariableOption struct {
	Default     bool   `json:"default"`
	Description string `json:"description"`
	Label       string `json:"label"`
	Value       string `json:"value"`
}

// Value is what a cluster gives to a variable.
type Value struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

var (
	variableName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)
	numberPattern = regexp.MustCompile(`^[+-]?(\d+(\.\d+)?|\.\d+)([eE][+-]?\d+)?$`)
	// semverPattern is that of semver.org, 2.0.0.
	semverPattern = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)
)

// ParseVariables reads declarations; null and nothing are none.
func ParseVariables(raw json.RawMessage) ([]Variable, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	var vars []Variable
	if err := json.Unmarshal(raw, &vars); err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	return vars, nil
}

// ValidateVariables checks declarations; at is the path of their list. Values of
// sensitive variables are not repeated in what it finds.
func ValidateVariables(at string, vars []Variable) Findings {
	if len(vars) > maxVariables {
		return Findings{{at, CodeVariableInvalid, fmt.Sprintf("has more than %d entries", maxVariables)}}
	}
	var found Findings
	names, titles := map[string]bool{}, map[string]bool{}
	for i, v := range vars {
		d := declaration{Variable: v, at: fmt.Sprintf("%s[%d]", at, i)}
		if names[v.Name] {
			d.add("name", "%q is twice", clip(v.Name))
		}
		if v.DisplayName != "" && titles[v.DisplayName] {
			d.add("displayName", "%q is twice", clip(v.DisplayName))
		}
		names[v.Name], titles[v.DisplayName] = true, true
		d.check()
		found = append(found, d.found...)
	}
	return found
}

// declaration is a variable under examination.
type declaration struct {
	Variable
	at    string
	found Findings
}

func (d *declaration) add(field, format string, args ...any) {
	d.found = append(d.found, FieldError{d.at + "." + field, CodeVariableInvalid, fmt.Sprintf(format, args...)})
}

func (d *declaration) check() {
	if !variableName.MatchString(d.Name) {
		d.add("name", "%q: letters, digits, points, hyphens and underscores only, a letter or underscore first, at most 128", clip(d.Name))
	}
	for _, text := range []struct{ field, value string }{
		{"displayName", d.DisplayName}, {"description", d.Description}, {"regex", d.Regex},
	} {
		if len(text.value) > maxVariableText {
			d.add(text.field, "is longer than %d bytes", maxVariableText)
		}
	}
	if f := formats(); d.Format != "" && !slices.Contains(f, d.Format) {
		d.add("format", "%q is none of %s", clip(d.Format), strings.Join(f, ", "))
	}
	if in := inputs(); d.InputType != "" && !slices.Contains(in, d.InputType) {
		d.add("inputType", "%q is none of %s", clip(d.InputType), strings.Join(in, ", "))
	}
	if _, err := regexp.Compile(d.Regex); err != nil {
		d.add("regex", "is not a regular expression (RE2)")
	}
	d.checkOptions()
	if len(d.found) > 0 {
		return // what follows is about a sound declaration
	}
	switch def := d.preset(); {
	case def != "":
		if why := d.refuses(def); why != "" {
			d.add("defaultValue", "%s", why)
		}
	case d.Immutable:
		d.add("defaultValue", "is required: the variable is immutable, so nobody can give it a value")
	case d.Hidden && d.Required:
		d.add("defaultValue", "is required: the variable is required and hidden, so nobody can give it a value")
	}
}

func formats() []string {
	return []string{
		FormatString, FormatNumber, FormatBoolean, FormatIPv4, FormatIPv4CIDR, FormatIPv6, FormatVersion, FormatBase64,
	}
}

func inputs() []string { return []string{InputText, InputDropdown, InputMultiline} }

func (d *declaration) checkOptions() {
	switch {
	case d.InputType == InputDropdown && len(d.Options) == 0:
		d.add("options", "needs at least one entry: the variable is a dropdown")
	case len(d.Options) > maxOptions:
		d.add("options", "has more than %d entries", maxOptions)
		return
	}
	seen := map[string]bool{}
	preset := false
	for i, o := range d.Options {
		at := fmt.Sprintf("options[%d]", i)
		if o.Value == "" {
			d.add(at+".value", "is required")
		}
		if seen[o.Value] {
			d.add(at+".value", "is twice")
		}
		if preset && o.Default {
			d.add(at+".default", "is a second default")
		}
		if len(o.Label) > maxVariableText || len(o.Description) > maxVariableText {
			d.add(at, "has a text longer than %d bytes", maxVariableText)
		}
		seen[o.Value], preset = true, preset || o.Default
	}
}

// preset is the default, "" without one. A dropdown may mark it in its options.
func (v Variable) preset() string {
	if v.DefaultValue != "" || v.InputType != InputDropdown {
		return v.DefaultValue
	}
	for _, o := range v.Options {
		if o.Default {
			return o.Value
		}
	}
	return ""
}

// choice turns what was given into what a template gets: the value of a
// dropdown's option, named by its value or its label.
func (v Variable) choice(given string) (string, bool) {
	if v.InputType != InputDropdown {
		return given, true
	}
	for _, o := range v.Options {
		if o.Value == given {
			return o.Value, true
		}
	}
	for _, o := range v.Options {
		if o.Label != "" && o.Label == given {
			return o.Value, true
		}
	}
	return "", false
}

// refuses says why a value is not one of the variable's, "" when it is. It never
// repeats the value of a sensitive variable.
func (v Variable) refuses(given string) string {
	name := func(s string) string {
		if v.IsSensitive {
			return "the value"
		}
		return fmt.Sprintf("%q", clip(s))
	}
	value, ok := v.choice(given)
	switch {
	case !ok:
		return name(given) + " is none of the options " + strings.Join(v.labels(), ", ")
	case len(value) > maxVariableValue:
		return fmt.Sprintf("is longer than %d bytes", maxVariableValue)
	case strings.ContainsRune(value, 0) || !utf8.ValidString(value):
		return "holds NUL or invalid UTF-8"
	case hasMacro(value):
		return "refers to a variable or macro itself, which is not resolved a second time"
	case v.InputType != InputMultiline && strings.IndexFunc(value, unicode.IsControl) >= 0 && v.Format != FormatBase64:
		return "has a line break or another control character, which only a variable of inputType multiline may have"
	case !formatHolds(v.Format, value):
		return name(value) + " is not " + formatWanted(v.Format)
	}
	if v.Regex != "" {
		re, err := regexp.Compile(v.Regex)
		if err != nil || !re.MatchString(value) {
			return name(value) + " does not match " + clip(v.Regex)
		}
	}
	return ""
}

func (v Variable) labels() []string {
	var out []string
	for _, o := range v.Options {
		if o.Label != "" {
			out = append(out, o.Label)
		} else {
			out = append(out, o.Value)
		}
	}
	return out
}

func formatHolds(format, value string) bool {
	switch format {
	case FormatNumber:
		return numberPattern.MatchString(value)
	case FormatBoolean:
		return value == "true" || value == "false"
	case FormatIPv4:
		a, err := netip.ParseAddr(value)
		return err == nil && a.Is4()
	case FormatIPv4CIDR:
		p, err := netip.ParsePrefix(value)
		return err == nil && p.Addr().Is4()
	case FormatIPv6:
		a, err := netip.ParseAddr(value)
		return err == nil && a.Is6() && !a.Is4In6() && a.Zone() == ""
	case FormatVersion:
		return semverPattern.MatchString(value)
	case FormatBase64:
		_, err := base64.StdEncoding.DecodeString(value)
		return err == nil
	default:
		return true
	}
}

func formatWanted(format string) string {
	return map[string]string{
		FormatNumber: "a number", FormatBoolean: "true or false", FormatIPv4: "an IPv4 address",
		FormatIPv4CIDR: "an IPv4 range such as 10.0.0.0/16", FormatIPv6: "an IPv6 address",
		FormatVersion: "a semantic version such as 1.2.3", FormatBase64: "base64 (RFC 4648, padded)",
	}[format]
}

// CheckValues checks what a cluster gives to the variables of a profile, as far
// as it goes: unknown names, values that do not fit, other values for immutable
// variables. at is the path of the list. With complete, required variables that
// get no value are findings too.
func CheckValues(at string, vars []Variable, given []Value, complete bool) Findings {
	if len(given) > maxVariables {
		return Findings{{at, CodeVariableValue, fmt.Sprintf("has more than %d entries", maxVariables)}}
	}
	var found Findings
	seen := map[string]bool{}
	for i, g := range given {
		path := fmt.Sprintf("%s[%d]", at, i)
		add := func(field, format string, args ...any) {
			found = append(found, FieldError{path + "." + field, CodeVariableValue, fmt.Sprintf(format, args...)})
		}
		k := slices.IndexFunc(vars, func(v Variable) bool { return v.Name == g.Name })
		switch {
		case k < 0:
			add("name", "the profile has no variable %q", clip(g.Name))
			continue
		case seen[g.Name]:
			add("name", "%q is twice", clip(g.Name))
			continue
		}
		seen[g.Name] = true
		switch v := vars[k]; {
		case g.Value == "" || g.Value == v.preset():
		case v.Immutable:
			add("value", "the variable %q is immutable: its value is the profile's", v.Name)
		default:
			if why := v.refuses(g.Value); why != "" {
				add("value", "of variable %q: %s", v.Name, why)
			}
		}
	}
	if complete {
		found = append(found, missingValues(at, vars, given)...)
	}
	return found
}

func missingValues(at string, vars []Variable, given []Value) Findings {
	var found Findings
	for _, v := range vars {
		has := v.preset() != "" || slices.ContainsFunc(given, func(g Value) bool { return g.Name == v.Name && g.Value != "" })
		if v.Required && !has {
			found = append(found, FieldError{at, CodeVariableMissing, fmt.Sprintf("the variable %q is required and has no value", v.Name)})
		}
	}
	return found
}

// EffectiveValues are the values that templates get: what the cluster gives over
// the defaults. Variables without either are "".
func EffectiveValues(vars []Variable, given []Value) map[string]string {
	out := make(map[string]string, len(vars))
	for _, v := range vars {
		value := v.preset()
		for _, g := range given {
			if g.Name == v.Name && g.Value != "" && !v.Immutable {
				value = g.Value
			}
		}
		if chosen, ok := v.choice(value); ok {
			value = chosen
		}
		out[v.Name] = value
	}
	return out
}

// MaskedValue stands for the value of a sensitive variable wherever it is not
// told. A client that sends it back means the value that is there.
const MaskedValue = "********"

// SplitSecrets takes the defaults of sensitive variables out of declarations as
// they were sent, whose text stays as it is otherwise.
func SplitSecrets(raw json.RawMessage) (json.RawMessage, map[string]string, error) {
	secrets := map[string]string{}
	out, err := editVariables(raw, func(v Variable) (string, bool) {
		if !v.IsSensitive || v.DefaultValue == "" {
			return "", false
		}
		secrets[v.Name] = v.DefaultValue
		return "", true
	})
	return out, secrets, err
}

// JoinSecrets is the inverse of SplitSecrets.
func JoinSecrets(raw json.RawMessage, secrets map[string]string) (json.RawMessage, error) {
	return editVariables(raw, func(v Variable) (string, bool) {
		s, ok := secrets[v.Name]
		return s, ok && v.IsSensitive
	})
}

// MaskSecrets shows that sensitive variables of names have a default, and not
// which.
func MaskSecrets(raw json.RawMessage, names []string) (json.RawMessage, error) {
	return editVariables(raw, func(v Variable) (string, bool) {
		return MaskedValue, v.IsSensitive && slices.Contains(names, v.Name)
	})
}

// editVariables replaces defaults where edit says so, and leaves every other
// byte of the declarations as it is.
func editVariables(raw json.RawMessage, edit func(Variable) (string, bool)) (json.RawMessage, error) {
	vars, err := ParseVariables(raw)
	if err != nil || len(vars) == 0 {
		return raw, err
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	changed := false
	for i, v := range vars {
		value, replace := edit(v)
		if !replace {
			continue
		}
		if items[i], err = setDefault(items[i], value); err != nil {
			return nil, err
		}
		changed = true
	}
	if !changed {
		return raw, nil
	}
	out, err := json.Marshal(items)
	if err != nil {
		return nil, fmt.Errorf("write variables: %w", err)
	}
	return out, nil
}

// setDefault replaces the default in the text of one declaration.
func setDefault(item json.RawMessage, value string) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(item))
	if _, err := dec.Token(); err != nil { // {
		return nil, fmt.Errorf("read a variable: %w", err)
	}
	quoted, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write a variable: %w", err)
	}
	out := item
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("read a variable: %w", err)
		}
		var old json.RawMessage
		if err := dec.Decode(&old); err != nil {
			return nil, fmt.Errorf("read a variable: %w", err)
		}
		if name, _ := key.(string); strings.EqualFold(name, "defaultValue") {
			end := int(dec.InputOffset())
			out = slices.Concat(item[:end-len(old)], quoted, item[end:])
		}
	}
	return out, nil
}

// clip bounds a user's text in a message.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Values are the given values of a snapshot's variables once they are open.
func Values(snap lazuli.ProfileSnapshot, open func(lazuli.Sealed) (string, error)) ([]Value, error) {
	out := make([]Value, 0, len(snap.Values))
	for _, v := range snap.Values {
		value := v.Value
		if len(v.Sealed) > 0 {
			var err error
			if value, err = open(v.Sealed); err != nil {
				return nil, err
			}
		}
		out = append(out, Value{Name: v.Name, Value: value})
	}
	return out, nil
}

// SnapshotVariables are the declarations of a snapshot with the defaults of
// sensitive ones.
func SnapshotVariables(snap lazuli.ProfileSnapshot, o Opener) ([]Variable, error) {
	raw := snap.Variables
	if len(snap.VariableSecrets) > 0 {
		plain, err := o.Unseal(snap.VariableSecrets, lazuli.ProfileAAD(snap.UID))
		if err != nil {
			return nil, fmt.Errorf("open the defaults of the variables of profile %q: %w", snap.Name, err)
		}
		var secrets map[string]string
		if err := json.Unmarshal(plain, &secrets); err != nil {
			return nil, fmt.Errorf("read the defaults of the variables of profile %q: %w", snap.Name, err)
		}
		if raw, err = JoinSecrets(raw, secrets); err != nil {
			return nil, err
		}
	}
	return ParseVariables(raw)
}
