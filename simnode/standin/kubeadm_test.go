// SPDX-License-Identifier: Apache-2.0

package standin_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/simnode/standin"
)

func TestKubeadmArguments(t *testing.T) {
	t.Parallel()
	const added = " --ignore-preflight-errors=SystemVerification,NumCPU"
	for _, tt := range []struct{ in, want, reason string }{
		{"kubeadm init --config x", "kubeadm init --config x" + added, "what the bootstrap script runs"},
		{"kubeadm join --config x", "kubeadm join --config x" + added, "what the bootstrap script runs"},
		{"kubeadm --v=5 init", "kubeadm --v=5 init" + added, "a flag may come first"},
		{"kubeadm init --ignore-preflight-errors all", "kubeadm init --ignore-preflight-errors all", "all stands alone"},
		{"kubeadm init --ignore-preflight-errors=Swap,ALL", "kubeadm init --ignore-preflight-errors=Swap,ALL", "all stands alone"},
		{"kubeadm init --ignore-preflight-errors=Swap", "kubeadm init --ignore-preflight-errors=Swap" + added, "kubeadm joins the lists"},
		{"kubeadm init phase preflight", "kubeadm init phase preflight" + added, "the phase has the flag"},
		{"kubeadm init phase certs all", "kubeadm init phase certs all", "the phase has no such flag"},
		{"kubeadm reset --force", "kubeadm reset --force", "only init and join check"},
		{"kubeadm", "kubeadm", "nothing to do"},
	} {
		got := standin.KubeadmArguments(strings.Fields(tt.in))
		if !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%q: got %q, want %q: %s", tt.in, strings.Join(got, " "), tt.want, tt.reason)
		}
	}
}
