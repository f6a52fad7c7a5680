// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vm_test

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lazuli-dev/lazuli/internal/azuresim/vm"
)

// TestCapabilities asks what root lacks in containers that took something away from it.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	all := ^uint64(0)
	tests := []struct {
		reason string
		have   uint64
		want   []string
	}{
		{"root", all, nil},
		{"a container's root without what binds a guest's first ports", all &^ (1 << unix.CAP_NET_BIND_SERVICE), []string{"CAP_NET_BIND_SERVICE"}},
		{"one whose programs cannot become other users", all &^ (1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID), []string{"CAP_SETGID", "CAP_SETUID"}},
		{"one that cannot unpack files with capabilities", all &^ (1<<unix.CAP_SETFCAP | 1<<unix.CAP_FOWNER | 1<<unix.CAP_SETPCAP), []string{"CAP_FOWNER", "CAP_SETPCAP", "CAP_SETFCAP"}},
		{"one without what the level does without", all &^ (1<<unix.CAP_SYS_RESOURCE | 1<<unix.CAP_SYS_MODULE | 1<<unix.CAP_SYS_TIME), nil},
	}
	for _, tt := range tests {
		if got := vm.Lacking(tt.have); !slices.Equal(got, tt.want) {
			t.Errorf("%s lacks %v, want %v", tt.reason, got, tt.want)
		}
	}
}
