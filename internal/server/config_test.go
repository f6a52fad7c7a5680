// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/server"
)

var update = flag.Bool("update", false, "write the golden files anew")

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "lazuli.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	yaml := file(t, `
listen: 127.0.0.1:1
dataDir: from-file
probeInterval: 3s
tls: {certFile: c, keyFile: k}
azure:
  environments:
    AzurePublicCloud:
      caFile: from-file
    Lab:
      armURL: https://arm.lab
      authorityURL: https://login.lab
      resolveByAddress: true
`)
	cfg, err := server.LoadConfig(yaml, env(map[string]string{
		"LAZULI_LISTEN": "127.0.0.1:2", "LAZULI_DATADIR": "from-env", "LAZULI_LOG_LEVEL": "debug",
		"LAZULI_AZURE_ENVIRONMENTS_LAB_CAFILE": "from-env", "LAZULI_ADMIN_APIKEY": "key-of-the-environment",
		"LAZULI_URL": "of the CLI, none of our business",
	}), map[string]string{"listen": "127.0.0.1:3"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason    string
		got, want any
	}{
		{"a flag wins over the environment and the file", cfg.Listen, "127.0.0.1:3"},
		{"the environment wins over the file", cfg.DataDir, "from-env"},
		{"the file wins over the default", cfg.ProbeInterval, 3 * time.Second},
		{"the default is left where nobody speaks", cfg.HealthInterval, time.Minute},
		{"nested keys of the environment", cfg.Log.Level, "debug"},
		{"a file changes one key of a known environment", cfg.Azure.Environments["AzurePublicCloud"].CAFile, "from-file"},
		{"and leaves its others", cfg.Azure.Environments["AzurePublicCloud"].ARMURL, "https://management.azure.com"},
		{"and adds environments", cfg.Azure.Environments["Lab"], server.Environment{
			ARMURL: "https://arm.lab", AuthorityURL: "https://login.lab", CAFile: "from-env", ResolveByAddress: true,
		}},
		{"secrets come from the environment too", cfg.Admin.APIKey, "key-of-the-environment"},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s: %s", tt.reason, diff)
		}
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason, file string
		flags        map[string]string
		want         []string // the fields that are named, behind the file's name
	}{
		{"unknown keys, each with its line", "listen: 127.0.0.1:1\nlistn: x\ntls: {cert: x}\n", nil, []string{":2: listn", ":3: tls.cert"}},
		{"an unknown key of an environment", "azure: {environments: {A: {arm: x}}}\n", nil, []string{":1: azure.environments.A.arm"}},
		{"a name that no variable could have", "azure: {environments: {a.b: {armURL: x}}}\n", nil, []string{":1: azure.environments.a.b"}},
		{"a section where a value belongs", "listen: {port: 1}\n", nil, []string{":1: listen"}},
		{"a value where a section belongs", "tls: x\n", nil, []string{":1: tls"}},
		{"an unknown flag key", "", map[string]string{"x.y": "1"}, []string{"x.y"}},
		{
			"values that cannot be used, all at once",
			"listen: nowhere\nprobeInterval: 1ns\nlog: {level: loud, format: xml}\ntls: {certFile: x}\nazure: {environments: {A: {armURL: 'http://x'}}}\n",
			nil,
			[]string{
				"listen", "probeInterval", "tls.certFile", "log.level", "log.format",
				"azure.environments.A.armURL", "azure.environments.A.authorityURL",
			},
		},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			name := ""
			if tt.file != "" {
				name = file(t, tt.file)
			}
			_, err := server.LoadConfig(name, env(nil), tt.flags)
			e, ok := errors.AsType[*lazuli.Error](err)
			if !ok || e.Code != lazuli.CodeInvalidField {
				t.Fatalf("got %v", err)
			}
			var got []string
			for _, f := range e.Fields {
				path, _ := bytes.CutPrefix([]byte(f.Path), []byte(name))
				got = append(got, string(path))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongTypeIsAnError(t *testing.T) {
	t.Parallel()
	_, err := server.LoadConfig(file(t, "probeInterval: soon\n"), env(nil), nil)
	if lazuli.CodeOf(err) != lazuli.CodeInvalidField {
		t.Errorf("got %v", err)
	}
}

// TestPrintConfig is the reference of all keys, and reads back to the same.
func TestPrintConfig(t *testing.T) {
	t.Parallel()
	cfg := server.DefaultConfig()
	cfg.Admin.APIKey = "canary"
	var b bytes.Buffer
	if err := server.PrintConfig(&b, cfg); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "config.yaml")
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
	if bytes.Contains(b.Bytes(), []byte("canary")) {
		t.Error("a secret was printed")
	}
	back, err := server.LoadConfig(file(t, b.String()), env(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(server.DefaultConfig(), back); diff != "" {
		t.Errorf("what is printed is not what is read: %s", diff)
	}
}

func TestCloud(t *testing.T) {
	t.Parallel()
	cfg := server.DefaultConfig()
	for _, tt := range []struct{ reason, name, want string }{
		{"the public cloud is the default", "", "https://management.azure.com"},
		{"case does not matter", "azurepubliccloud", "https://management.azure.com"},
		{"the older name of the government's cloud", "AzureUSGovernment", "https://management.usgovcloudapi.net"},
		{"its newer name", "AzureUSGovernmentCloud", "https://management.usgovcloudapi.net"},
		{"China", "AzureChinaCloud", "https://management.chinacloudapi.cn"},
	} {
		if got, err := cfg.Cloud(tt.name); err != nil || got.ARMURL != tt.want {
			t.Errorf("%s: %q, %v", tt.reason, got.ARMURL, err)
		}
	}
	if _, err := cfg.Cloud("AzureUSSecretCloud"); lazuli.CodeOf(err) != lazuli.CodeInvalidField {
		t.Errorf("an environment that is not configured: %v", err)
	}
}
