// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli/internal/contract"
)

var update = flag.Bool("update", false, "write docs/api.md")

func TestReferencePage(t *testing.T) {
	t.Parallel()
	const page = "../../docs/api.md"
	want := load(t).Markdown()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/api.md is not what the document says: make golden")
	}
}

func TestGeneratedIsCurrent(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256(contract.Document())
	for _, file := range []string{"../wire/types.gen.go", "../../web/src/api.d.ts"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b[:min(len(b), 400)]), hex.EncodeToString(sum[:])) {
			t.Errorf("%s was made from another document: make generate", file)
		}
	}
}
