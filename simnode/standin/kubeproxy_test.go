// SPDX-License-Identifier: Apache-2.0

package standin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/simnode/standin"
)

func TestKubeProxyArguments(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	config := filepath.Join(t.TempDir(), "config.conf")
	if err := os.WriteFile(config, []byte("mode: nftables\nconntrack: {maxPerCore: null, min: null, tcpEstablishedTimeout: 1s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, in := range [][]string{
		{"kube-proxy", "--config=" + config, "--hostname-override=a"},
		{"kube-proxy", "--config", config, "--hostname-override=a"},
	} {
		got, err := standin.KubeProxyArguments(in)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(in) || got[len(got)-1] != in[len(in)-1] || got[0] != in[0] {
			t.Fatalf("%q became %q", in, got)
		}
		name := strings.TrimPrefix(got[len(got)-2], "--config=")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"maxPerCore: 0", "tcpEstablishedTimeout: 1s", "mode: nftables"} {
			if name == config || !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q:\n%s", name, want, text)
			}
		}
	}
	if _, err := standin.KubeProxyArguments([]string{"kube-proxy", "--config=/nowhere"}); err == nil {
		t.Error("a missing configuration is no error")
	}
}
