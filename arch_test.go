// SPDX-License-Identifier: Apache-2.0

package lazuli_test

import (
	"bufio"
	"bytes"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/lazuli-dev/lazuli"

// mayImport is the table of import directions: what a room may import of ours.
// The root package is everybody's vocabulary and stands in no row.
func mayImport() map[string][]string {
	return map[string][]string{
		"internal/graph":           {},
		"internal/seal":            {},
		"internal/wire":            {},
		"internal/contract":        {},
		"internal/palette":         {"internal/wire"},
		"internal/pack":            {},
		"internal/bootstrap":       {},
		"internal/azure/resource":  {},
		"internal/azure":           {"internal/azure/resource"},
		"internal/store":           {},
		"internal/store/sqltext":   {"internal/store"},
		"internal/store/sqltx":     {"internal/store", "internal/store/sqltext"},
		"internal/store/sqlite":    {"internal/store", "internal/store/sqltext", "internal/store/sqltx"},
		"internal/store/postgres":  {"internal/store", "internal/store/sqltext", "internal/store/sqltx"},
		"internal/store/pgtest":    {},
		"internal/store/storetest": {"internal/store"},
		"internal/reconcile":       {"internal/store"},
		"internal/updates":         {"internal/reconcile", "internal/store"},
		"internal/workload":        {},
		"internal/auth":            {"internal/store"},
		"internal/cluster": {
			"internal/azure/resource", "internal/bootstrap", "internal/graph", "internal/pack",
			"internal/palette", "internal/reconcile", "internal/store", "internal/wire", "internal/workload",
		},
		"internal/api":              {"internal/auth", "internal/contract", "internal/graph", "internal/pack", "internal/palette", "internal/store", "internal/updates", "internal/wire"},
		"internal/client":           {"internal/palette", "internal/wire"},
		"internal/azuresim":         {},
		"internal/azuresim/kubeapi": {},
		"internal/azuresim/model":   {"internal/azuresim", "internal/azuresim/kubeapi"},
		"internal/azuresim/vm":      {"internal/azuresim", "internal/azuresim/vnet"},
		"internal/azuresim/vnet":    {"internal/azuresim"},
		"internal/azuresim/process": {"internal/azuresim", "internal/azuresim/model"},
		"internal/server": {
			"internal/api", "internal/auth", "internal/azure", "internal/azure/resource", "internal/cluster", "internal/pack",
			"internal/reconcile", "internal/seal", "internal/store", "internal/store/postgres", "internal/store/sqlite",
			"internal/updates", "internal/workload",
		},
		"internal/cli": {
			"examples", "internal/azuresim", "internal/azuresim/model", "internal/azuresim/process", "internal/azuresim/vm",
			"internal/cli/manifest", "internal/client",
			"internal/palette", "internal/server", "internal/wire", "internal/workload",
		},
		"internal/cli/manifest": {"internal/palette", "internal/wire"},
		"cmd/lazuli":            {"internal/cli"},
		"examples":              {},
		"test/bench":            {"internal/azuresim/model"},
		"test/lab": {
			"internal/azure", "internal/azure/resource", "internal/azuresim", "internal/azuresim/kubeapi", "internal/azuresim/model",
			"internal/bootstrap", "internal/cluster", "internal/pack",
			"internal/reconcile", "internal/seal", "internal/store", "internal/store/sqlite", "internal/workload",
		},
		"test/simulation": {
			"internal/azure", "internal/azure/resource", "internal/azuresim", "internal/azuresim/kubeapi", "internal/azuresim/model",
			"internal/bootstrap", "internal/cluster", "internal/pack", "internal/store", "internal/store/sqlite", "internal/workload",
		},
		"test/e2e":      {},
		"test/e2e/tape": {"internal/contract"},
	}
}

// reasons say why an edge is not in the table, for those that somebody will
// want to add.
func reasons() map[string]string {
	return map[string]string{
		"internal/api -> internal/cluster":    "the API writes desired state only; the engine acts on it",
		"internal/api -> internal/azure":      "what must be asked of Azure at once goes through api.Prober",
		"internal/azure -> internal/azuresim": "the client must not know the simulator",
		"internal/azuresim -> internal/azure": "the simulator knows nothing of us: it simulates the wire",
		"internal/cluster -> internal/azure":  "deciding needs no SDK: cluster.Azure is what it asks for",
	}
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	allowed := mayImport()
	for pkg, imports := range list(t, "{{.ImportPath}} {{join .Imports \" \"}}", "./...") {
		room, ok := strings.CutPrefix(pkg, module+"/")
		if !ok { // the root package
			for _, imp := range imports {
				if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
					t.Errorf("the root package imports %s: it may use the standard library only", imp)
				}
			}
			continue
		}
		row, known := allowed[room]
		if !known {
			t.Errorf("%s has no row in the table of import directions", room)
			continue
		}
		for _, imp := range imports {
			target, ours := strings.CutPrefix(imp, module+"/")
			if ours && !slices.Contains(row, target) {
				why := reasons()[room+" -> "+target]
				if why == "" {
					why = "it is not in the table of import directions"
				}
				t.Errorf("%s imports %s: %s", room, target, why)
			}
		}
	}
}

// Heavy dependencies stay in one room each, so that a change elsewhere never
// waits for them to compile.
func TestHeavyRooms(t *testing.T) {
	t.Parallel()
	for _, heavy := range []struct {
		prefix string
		rooms  []string // that may import it directly
	}{
		{"github.com/Azure/azure-sdk-for-go/", []string{"internal/azure"}},
		{"k8s.io/client-go/", []string{"internal/workload", "internal/azuresim/kubeapi", "internal/azuresim/model"}},
		{"helm.sh/", []string{}},
		{"modernc.org/sqlite", []string{"internal/store/sqlite"}},
		{"github.com/jackc/pgx/", []string{"internal/store/postgres", "internal/store/pgtest"}},
		{"github.com/tink-crypto/", []string{"internal/seal"}},
		{"github.com/getkin/kin-openapi/", []string{"internal/contract"}},
		{"github.com/golang-jwt/", []string{"internal/auth"}},
	} {
		for pkg, imports := range list(t, "{{.ImportPath}} {{join .Imports \" \"}}", "./...") {
			room := strings.TrimPrefix(pkg, module+"/")
			for _, imp := range imports {
				if strings.HasPrefix(imp, heavy.prefix) && !slices.Contains(heavy.rooms, room) {
					t.Errorf("%s imports %s, which stays in %v", room, imp, heavy.rooms)
				}
			}
		}
	}
	for room, without := range map[string][]string{
		"internal/api":       {"github.com/Azure/", "k8s.io/client-go", "modernc.org/", "github.com/jackc/"},
		"internal/cluster":   {"github.com/Azure/", "modernc.org/", "github.com/jackc/"},
		"internal/client":    {"github.com/Azure/", "k8s.io/", "modernc.org/"},
		"internal/azuresim":  {"github.com/Azure/", "k8s.io/"},
		"internal/bootstrap": {"net/http", "database/sql", "os/exec"},
		"internal/graph":     {"net", "os/exec", "database/sql"},
	} {
		for dep := range list(t, "{{.ImportPath}}", "-deps", "./"+room) {
			for _, heavy := range without {
				if dep == heavy || strings.HasSuffix(heavy, "/") && strings.HasPrefix(dep, heavy) || strings.HasPrefix(dep, heavy+"/") && strings.Contains(heavy, ".") {
					t.Errorf("%s depends on %s", room, dep)
				}
			}
		}
	}
}

// Each package with tests is a binary to link, about a second on two cores. The
// three levels of real machines brought three: their rooms stay apart, since
// each is a world of its own and only one of them is ever in use.
func TestAtMost28TestBinaries(t *testing.T) {
	t.Parallel()
	var with []string
	for pkg, files := range list(t, "{{.ImportPath}} {{join .TestGoFiles \" \"}} {{join .XTestGoFiles \" \"}}", "./...") {
		if len(files) > 0 {
			with = append(with, pkg)
		}
	}
	if len(with) > 28 {
		t.Errorf("%d packages have tests, 28 are allowed: each is a binary to link", len(with))
	}
}

func TestSourceFiles(t *testing.T) {
	t.Parallel()
	nameless := []string{"util", "utils", "common", "helper", "helpers", "types", "models", "base", "misc", "lib", "pkg"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if slices.Contains([]string{".git", "node_modules", "testdata"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		if room := filepath.Dir(path); slices.Contains(nameless, filepath.Base(room)) {
			t.Errorf("%s: a room needs a name of its own", room)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Contains(content[:min(len(content), 400)], []byte("SPDX-License-Identifier: Apache-2.0")) {
			t.Errorf("%s has no SPDX line", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// list runs go list and returns the words behind the first of each line.
func list(t *testing.T, format string, args ...string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-f", format}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	result := map[string][]string{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) > 0 {
			result[words[0]] = words[1:]
		}
	}
	if len(slices.Collect(maps.Keys(result))) == 0 {
		t.Fatal("go list printed nothing")
	}
	return result
}
