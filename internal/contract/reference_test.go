// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write docs/api.md")

func TestReferencePage(t *testing.T) {
	t.Parallel()
	const page = "../../docs/api.md"
	want := load(t).Markdown()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil { //nolint:gosec // a page for everyone
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/api.md is not what the document says: make docs")
	}
}
