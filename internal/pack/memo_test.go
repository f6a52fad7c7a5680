// SPDX-License-Identifier: Apache-2.0

package pack_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
)

// What is kept from one look to the next never answers for other arguments,
// however many there are.
func TestKeptResultsBelongToTheirArguments(t *testing.T) {
	t.Parallel()
	r, err := pack.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1200 { // more than are kept
		content := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c%d\n", i%600)
		l := lazuli.Layer{Name: "own", Type: pack.TypeManifest, Manifests: []lazuli.Manifest{{Name: "m", Content: content}}}
		for range 2 {
			got, err := r.Render(l, pack.Cluster{})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || !bytes.Contains(got[0].Documents, fmt.Appendf(nil, "name: c%d\n", i%600)) {
				t.Fatalf("call %d: %+v", i, got)
			}
		}
	}
}
