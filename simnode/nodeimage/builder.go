// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

var (
	//go:embed script/base.sh
	baseScript string
	//go:embed script/gallery.sh
	galleryScript string
	//go:embed script/store.sh
	storeScript string
)

// partsFile is the file in an artefact that names the parts it was made of.
const partsFile = "parts"

// cacheVariable overrides where artefacts are.
const cacheVariable = "LAZULI_SIMNODE_CACHE"

// A Builder builds the artefact of one source tree.
type Builder struct {
	Source string // the folder simnode/ of the repository
	Cache  string // where artefacts are
	Log    func(format string, a ...any)
}

// DefaultCache is where artefacts are unless somebody says otherwise.
func DefaultCache() (string, error) {
	if dir := os.Getenv(cacheVariable); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return filepath.Join(dir, "lazuli", "simnode"), nil
}

// Key is the key of the source as it is.
func (b *Builder) Key() (string, error) {
	return Key(b.Source, []string{"cmd", "go.mod", "go.sum", "guest", "nodeimage", "oom", "originals", "packs", "standin"}, nil)
}

// Warm returns the directory of the artefact and whether it is there.
func (b *Builder) Warm() (string, bool, error) {
	key, err := b.Key()
	if err != nil {
		return "", false, err
	}
	dir := filepath.Join(b.Cache, key)
	_, err = os.Stat(filepath.Join(dir, "artefact.json"))
	return dir, err == nil, nil
}

// Build makes the artefact, unless it is there, and makes it the current one. It needs root, and may be run again at any
// point. Two at once wait for each other.
func (b *Builder) Build(ctx context.Context) (string, error) {
	if err := os.MkdirAll(b.Cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache directory: %w", err)
	}
	unlock, err := lock(filepath.Join(b.Cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir, warm, err := b.Warm()
	if err != nil {
		return "", err
	}
	if !warm {
		if os.Getuid() != 0 {
			return "", errors.New("building a root file system needs root")
		}
		if err := b.clearUnfinished(); err != nil {
			return "", err
		}
		if err := installTools(b.Log); err != nil {
			return "", err
		}
		if err := b.assemble(ctx, dir); err != nil {
			return "", err
		}
	}
	return dir, b.makeCurrent(filepath.Base(dir))
}

// clearUnfinished removes what an interrupted build left. The lock is held, so nobody is at work on it.
func (b *Builder) clearUnfinished() error {
	for _, pattern := range []string{"*.tmp", "parts/*.tmp"} {
		names, err := filepath.Glob(filepath.Join(b.Cache, pattern))
		if err != nil {
			return fmt.Errorf("list unfinished builds: %w", err)
		}
		for _, name := range names {
			if err := os.RemoveAll(name); err != nil {
				return fmt.Errorf("remove an unfinished build: %w", err)
			}
		}
	}
	return nil
}

// Prune removes every artefact but the current one, and all parts but those that it was made of. Machines that still run from
// another artefact lose their files.
func (b *Builder) Prune() error {
	unlock, err := lock(filepath.Join(b.Cache, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	current, err := os.Readlink(filepath.Join(b.Cache, "current"))
	if err != nil {
		return fmt.Errorf("find the current artefact: %w", err)
	}
	artefacts, err := filepath.Glob(filepath.Join(b.Cache, "*", "artefact.json"))
	if err != nil {
		return fmt.Errorf("list artefacts: %w", err)
	}
	parts, err := filepath.Glob(filepath.Join(b.Cache, "parts", "*"))
	if err != nil {
		return fmt.Errorf("list parts: %w", err)
	}
	used, err := readList(filepath.Join(b.Cache, current, partsFile))
	if err != nil {
		return err
	}
	var stale []string
	for _, name := range artefacts {
		if dir := filepath.Dir(name); filepath.Base(dir) != current && filepath.Base(dir) != "current" {
			stale = append(stale, dir)
		}
	}
	for _, dir := range parts {
		if !slices.Contains(used, filepath.Base(dir)) {
			stale = append(stale, dir)
		}
	}
	for _, dir := range stale {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
		b.Log("removed %s", dir)
	}
	return nil
}

func (b *Builder) makeCurrent(key string) error {
	link := filepath.Join(b.Cache, "current")
	if target, err := os.Readlink(link); err == nil && target == key {
		return nil
	}
	if err := os.RemoveAll(link + ".new"); err != nil {
		return fmt.Errorf("switch the current artefact: %w", err)
	}
	if err := os.Symlink(key, link+".new"); err != nil {
		return fmt.Errorf("switch the current artefact: %w", err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		return fmt.Errorf("switch the current artefact: %w", err)
	}
	return nil
}

// step times one step.
func (b *Builder) step(name string, do func() error) error {
	start := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.Log("%-34s %6.1f s", name, time.Since(start).Seconds())
	return nil
}

// part returns the directory of a part, after making it when it is not there.
func (b *Builder) part(name, key string, build func(dir string) error) (string, error) {
	dir := filepath.Join(b.Cache, "parts", name+"-"+key)
	if _, err := os.Stat(dir); err == nil {
		b.Log("%-34s   warm", name)
		return dir, nil
	}
	unfinished := dir + ".tmp"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", fmt.Errorf("clear an unfinished part: %w", err)
	}
	if err := os.MkdirAll(unfinished, 0o755); err != nil {
		return "", fmt.Errorf("make a part: %w", err)
	}
	if err := b.step(name, func() error { return build(unfinished) }); err != nil {
		return "", err
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return "", fmt.Errorf("finish a part: %w", err)
	}
	return dir, nil
}

// base is Debian with the guest's packages, and the packages of the mirror.
func (b *Builder) base(ctx context.Context) (string, error) {
	guest, err := readList(filepath.Join(b.Source, "guest", "packages.txt"))
	if err != nil {
		return "", err
	}
	packages := strings.Join(append(guest, ubuntuHas...), " ")
	wanted := strings.Join(mirrored, " ")
	key, err := Key(b.Source, nil, []string{suite, packages, wanted, baseScript})
	if err != nil {
		return "", err
	}
	return b.part("debian", key, func(dir string) error {
		mirror, err := debianMirror("/etc/apt", suite)
		if err != nil {
			return err
		}
		return runScript(ctx, baseScript, nil, dir, suite, mirror, packages, wanted)
	})
}

// readList reads the words of a file with comments; none when there is no file.
func readList(name string) ([]string, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a list: %w", err)
	}
	var words []string
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words = append(words, strings.Fields(line)...)
	}
	slices.Sort(words)
	return slices.Compact(words), nil
}

// binaries are the parts that Go builds.
type binaries struct{ kube, containerd, runc, cni string }

func (b *Builder) binaries(ctx context.Context) (binaries, error) {
	var out binaries
	for _, p := range []struct {
		name  string
		into  *string
		paths []string
		build func(context.Context, string) error
	}{
		{"kube", &out.kube, []string{"go.mod", "go.sum", "cmd/kube", "cmd/pause", "cmd/runc", "oom", "standin"}, b.buildKube},
		{"containerd", &out.containerd, []string{"originals/containerd"}, b.buildContainerd},
		{"runc", &out.runc, []string{"originals/runc"}, b.buildRunc},
		{"cni", &out.cni, []string{"originals/cni"}, b.buildCNI},
	} {
		key, err := Key(b.Source, p.paths, nil)
		if err != nil {
			return out, err
		}
		if *p.into, err = b.part(p.name, key, func(dir string) error { return p.build(ctx, dir) }); err != nil {
			return out, err
		}
	}
	return out, nil
}

// buildKube links the Kubernetes programs. Without the version kubeadm takes itself for v0.0.0. The flags that are no linker's
// must stay as they are: with others everything is compiled again, a quarter of an hour.
func (b *Builder) buildKube(ctx context.Context, dir string) error {
	flags := "-s -w"
	for name, value := range map[string]string{
		"gitVersion": "v" + kubernetesVersion, "gitMajor": "1", "gitMinor": strings.TrimPrefix(kubernetesMinor, "1."),
		"gitTreeState": "clean", "gitCommit": strings.Repeat("0", 40), "buildDate": "2026-01-01T00:00:00Z",
	} {
		flags += " -X k8s.io/component-base/version." + name + "=" + value
	}
	if err := goBuild(ctx, b.Source, "CGO_ENABLED=0", "-ldflags", flags, "-o", filepath.Join(dir, "kube"), "./cmd/kube"); err != nil {
		return err
	}
	return goBuild(ctx, b.Source, "CGO_ENABLED=0", "-ldflags", "-s -w", "-o", dir+"/", "./cmd/pause", "./cmd/runc")
}

func (b *Builder) buildContainerd(ctx context.Context, dir string) error {
	const module = "github.com/containerd/containerd/v2"
	return goBuild(ctx, filepath.Join(b.Source, "originals", "containerd"), "CGO_ENABLED=0",
		"-tags", "no_btrfs,no_devmapper,no_zfs", "-ldflags", "-s -w -X "+module+"/version.Version=v"+containerdVersion,
		"-o", dir+"/", module+"/cmd/containerd", module+"/cmd/containerd-shim-runc-v2", module+"/cmd/ctr")
}

// buildRunc links statically: the machines' libraries need not be this machine's. seccomp is needed, kubeadm asks for it.
func (b *Builder) buildRunc(ctx context.Context, dir string) error {
	return goBuild(ctx, filepath.Join(b.Source, "originals", "runc"), "CGO_ENABLED=1",
		"-tags", "seccomp,netgo,osusergo", "-ldflags", "-s -w -extldflags -static", "-o", filepath.Join(dir, "runc"),
		"github.com/opencontainers/runc")
}

func (b *Builder) buildCNI(ctx context.Context, dir string) error {
	const module = "github.com/containernetworking/plugins/plugins"
	return goBuild(ctx, filepath.Join(b.Source, "originals", "cni"), "CGO_ENABLED=0", "-ldflags", "-s -w", "-o", dir+"/",
		module+"/ipam/host-local", module+"/main/bridge", module+"/main/loopback", module+"/meta/portmap")
}

func goBuild(ctx context.Context, folder, cgo string, arguments ...string) error {
	command := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-buildvcs=false"}, arguments...)...)
	command.Dir = folder
	command.Env = append(os.Environ(), cgo, "GOOS=linux", "GOARCH=amd64")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in %s: %w: %s", folder, err, lastLines(out))
	}
	return nil
}

// runScript runs a shell script in mount and process namespaces of its own: nothing stays mounted or runs on however it ends.
func runScript(ctx context.Context, script string, environment []string, arguments ...string) error {
	command := exec.CommandContext(ctx, "unshare", append([]string{
		"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh",
	}, arguments...)...)
	command.Env = append(os.Environ(), environment...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, lastLines(out))
	}
	return nil
}

// copyTree copies files with everything that belongs to them.
func copyTree(ctx context.Context, from, to string) error {
	if out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, lastLines(out))
	}
	return nil
}

func lock(name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	return func() { file.Close() }, nil
}

// artefact is the file artefact.json: its paths are relative to it.
type artefact struct {
	Format     int                       `json:"format"`
	Kubernetes string                    `json:"kubernetes"`
	Images     map[string]artefactSource `json:"images"`
}

type artefactSource struct {
	Lowers []string `json:"lowers"`          // directories of an overlay, the first on top
	Store  string   `json:"store,omitempty"` // a ready /var/lib/containerd
}

func writeArtefact(dir string) error {
	text, err := json.MarshalIndent(artefact{
		Format: 1, Kubernetes: kubernetesVersion,
		Images: map[string]artefactSource{
			"stock":   {Lowers: []string{"stock"}},
			"gallery": {Lowers: []string{"gallery", "stock"}, Store: "containerd"},
		},
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the artefact: %w", err)
	}
	return writeFile(filepath.Join(dir, "artefact.json"), append(text, '\n'), 0o644)
}
