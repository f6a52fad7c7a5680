// SPDX-License-Identifier: Apache-2.0

package oom_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/simnode/oom"
)

func TestConfigFile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want, reason string }{
		{"--root /r --log /l create --bundle /b --pid-file /p id", "/b/config.json", "what the shim of containerd calls"},
		{"create --bundle=/b id", "/b/config.json", "one word"},
		{"run -b /b id", "/b/config.json", "the short form"},
		{"create id", "config.json", "the working directory"},
		{"--root /r start id", "", "makes no container"},
		{"exec --process /p id", "", "makes no container"},
		{"delete --force id", "", "makes no container"},
	} {
		if got := oom.ConfigFile(strings.Fields(tt.in)); got != tt.want {
			t.Errorf("%q: got %q, want %q: %s", tt.in, got, tt.want, tt.reason)
		}
	}
}

func TestClamp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ own, in, want, reason string }{
		{"0\n", `{"a":12345678901234567890,"process":{"oomScoreAdj":-998,"x":1}}`, `{"a":12345678901234567890,"process":{"oomScoreAdj":0,"x":1}}`, "raised, the rest untouched"},
		{"-999\n", `{"process": {"oomScoreAdj":-998}}`, `{"process": {"oomScoreAdj":-998}}`, "allowed"},
		{"1\n", `{"process": {"oomScoreAdj":1000}}`, `{"process": {"oomScoreAdj":1000}}`, "higher is always allowed"},
		{"1\n", `{"process": {}}`, `{"process": {}}`, "none"},
	} {
		dir := t.TempDir()
		file, score := filepath.Join(dir, "config.json"), filepath.Join(dir, "score")
		for name, text := range map[string]string{file: tt.in, score: tt.own} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := oom.Clamp(file, score); err != nil {
			t.Errorf("%s: %v", tt.reason, err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != tt.want {
			t.Errorf("own score %q: got %s, want %s: %s", tt.own, got, tt.want, tt.reason)
		}
	}
}
