// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"

	"github.com/lazuli-dev/lazuli"
)

// EnvPrefix starts the name of every environment variable of the hub.
const EnvPrefix = "LAZULI_"

// maxConfigBytes bounds the configuration file.
const maxConfigBytes = 1 << 20

// keyInfo is one key of the configuration.
type keyInfo struct {
	path   string // azure.environments.AzurePublicCloud.armURL
	doc    string
	secret string // "": not one; secretURL: printed without its password; else never printed
}

// secretURL marks a key that is a URL with a password in it.
const secretURL = "url"

func (k keyInfo) env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_"))
}

// EnvName is the environment variable of a key: LAZULI_ and the path in upper
// case with "_" for ".".
func EnvName(path string) string { return keyInfo{path: path}.env() }

// LoadConfig merges defaults, the YAML file (none when ""), the environment
// and the values of flags, by key. Unknown keys and values that cannot be used
// are errors of lazuli.CodeInvalidField that name them.
//
// The environment is asked for the known keys only: other variables with the
// prefix belong to the CLI or, inside Kubernetes, to service discovery.
func LoadConfig(file string, getenv func(string) string, flags map[string]string) (Config, error) {
	cfg := DefaultConfig()
	k := koanf.New(".")
	if err := k.Load(values(flatten("", reflect.ValueOf(cfg), map[string]any{})), nil); err != nil {
		return Config{}, fmt.Errorf("load defaults: %w", err)
	}
	if file != "" {
		fromFile, err := readFile(file)
		if err != nil {
			return Config{}, err
		}
		if err := k.Load(values(fromFile), nil); err != nil {
			return Config{}, fmt.Errorf("load configuration %s: %w", file, err)
		}
	}
	over := map[string]any{}
	for _, key := range keysOf(k) {
		if v := getenv(key.env()); v != "" {
			over[key.path] = v
		}
	}
	var unknown lazuli.Fields
	for _, path := range sortedKeys(flags) {
		if !leaf(path) {
			unknown.Add(path, "unknown key; `lazuli serve --print-config` lists all")
		}
		over[path] = flags[path]
	}
	if err := unknown.Err(); err != nil {
		return Config{}, err
	}
	if err := k.Load(values(over), nil); err != nil {
		return Config{}, fmt.Errorf("load environment and flags: %w", err)
	}
	var out Config
	if err := k.Unmarshal("", &out); err != nil {
		return Config{}, &lazuli.Error{
			Code: lazuli.CodeInvalidField, Message: "configuration has a value of the wrong type", Err: err,
		}
	}
	return out, out.Validate()
}

// values is a koanf provider of flat keys.
type values map[string]any

// ReadBytes implements koanf.Provider; it is never called, as Read is.
func (values) ReadBytes() ([]byte, error) { return nil, errors.New("only Read is served") }

// Read implements koanf.Provider.
func (v values) Read() (map[string]any, error) {
	out := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(v)) {
		parts := strings.Split(path, ".")
		m := out
		for _, p := range parts[:len(parts)-1] {
			next, ok := m[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[p] = next
			}
			m = next
		}
		m[parts[len(parts)-1]] = v[path]
	}
	return out, nil
}

// flatten turns a configuration into values by key.
func flatten(prefix string, v reflect.Value, out map[string]any) map[string]any {
	for f, field := range v.Fields() {
		path := join(prefix, f.Tag.Get("koanf"))
		switch field.Kind() {
		case reflect.Struct:
			flatten(path, field, out)
		case reflect.Map:
			for _, name := range field.MapKeys() {
				flatten(join(path, name.String()), field.MapIndex(name), out)
			}
		default:
			if d, ok := reflect.TypeAssert[time.Duration](field); ok {
				out[path] = d.String()
				continue
			}
			out[path] = field.Interface()
		}
	}
	return out
}

// describe lists the keys of a type; the environments' keys once per name.
func describe(prefix string, t reflect.Type, names []string) []keyInfo {
	var out []keyInfo
	for f := range t.Fields() {
		path := join(prefix, f.Tag.Get("koanf"))
		switch f.Type.Kind() {
		case reflect.Struct:
			out = append(out, describe(path, f.Type, names)...)
		case reflect.Map:
			for _, name := range names {
				out = append(out, describe(join(path, name), f.Type.Elem(), nil)...)
			}
		default:
			out = append(out, keyInfo{path: path, doc: f.Tag.Get("doc"), secret: f.Tag.Get("secret")})
		}
	}
	return out
}

func keysOf(k *koanf.Koanf) []keyInfo {
	return describe("", reflect.TypeFor[Config](), k.MapKeys("azure.environments"))
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// readFile reads the file's values by key and refuses unknown keys.
func readFile(name string) (map[string]any, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open configuration: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(f, maxConfigBytes))
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", name, err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, &lazuli.Error{Code: lazuli.CodeInvalidField, Message: "configuration " + name + " is not YAML", Err: err}
	}
	out := map[string]any{}
	if len(doc.Content) == 0 {
		return out, nil
	}
	var findings lazuli.Fields
	collect(doc.Content[0], "", name, out, &findings)
	return out, findings.Err()
}

func collect(n *yaml.Node, prefix, file string, out map[string]any, findings *lazuli.Fields) {
	if n.Kind != yaml.MappingNode {
		findings.Add(fmt.Sprintf("%s:%d: %s", file, n.Line, orRoot(prefix)), "expected keys and values")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := join(prefix, key.Value)
		switch {
		case leaf(path) && value.Kind == yaml.ScalarNode:
			out[path] = value.Value
		case leaf(path):
			findings.Add(fmt.Sprintf("%s:%d: %s", file, key.Line, path), "expected one value")
		case branch(path):
			collect(value, path, file, out, findings)
		default:
			findings.Add(fmt.Sprintf("%s:%d: %s", file, key.Line, path), "unknown key; `lazuli serve --print-config` lists all")
		}
	}
}

func orRoot(path string) string {
	if path == "" {
		return "document"
	}
	return path
}

const anyName = "*"

// wild replaces the name of an environment, which is free.
func wild(path string) string {
	parts := strings.Split(path, ".")
	if len(parts) > 2 && parts[0] == "azure" && parts[1] == "environments" {
		parts[2] = anyName
	}
	return strings.Join(parts, ".")
}

func leaf(path string) bool {
	return slices.ContainsFunc(describe("", reflect.TypeFor[Config](), []string{anyName}),
		func(k keyInfo) bool { return k.path == wild(path) })
}

func branch(path string) bool {
	return slices.ContainsFunc(describe("", reflect.TypeFor[Config](), []string{anyName}),
		func(k keyInfo) bool { return strings.HasPrefix(k.path, wild(path)+".") })
}

// PrintConfig writes the configuration as the YAML that LoadConfig reads, each
// key with its meaning and its environment variable. Secrets are left out, also
// from URLs.
func PrintConfig(w io.Writer, cfg Config) error {
	flat := flatten("", reflect.ValueOf(cfg), map[string]any{})
	var b strings.Builder
	var open []string
	for _, k := range describe("", reflect.TypeFor[Config](), sortedKeys(cfg.Azure.Environments)) {
		parts := strings.Split(k.path, ".")
		section := parts[:len(parts)-1]
		for i, s := range section {
			if i >= len(open) || !slices.Equal(open[:i+1], section[:i+1]) {
				fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), s)
			}
		}
		open = section
		indent := strings.Repeat("  ", len(section))
		fmt.Fprintf(&b, "%s# %s (%s)\n", indent, k.doc, k.env())
		value := flat[k.path]
		switch k.secret {
		case "":
		case secretURL:
			value = withoutPassword(fmt.Sprint(value))
		default:
			value = ""
		}
		text, err := yaml.Marshal(value)
		if err != nil {
			return fmt.Errorf("print %s: %w", k.path, err)
		}
		fmt.Fprintf(&b, "%s%s: %s", indent, parts[len(parts)-1], text)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	return nil
}

// withoutPassword is a URL that can be shown; what is no URL cannot.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	q := u.Query()
	for key := range q {
		if strings.Contains(strings.ToLower(key), "password") {
			q.Del(key)
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
