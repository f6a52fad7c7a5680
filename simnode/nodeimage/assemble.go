// SPDX-License-Identifier: Apache-2.0

package nodeimage

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// assemble makes the artefact dir of its parts.
func (b *Builder) assemble(ctx context.Context, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Debian comes over the network while the compiler has the processors.
	type result struct {
		dir string
		err error
	}
	debian := make(chan result, 1)
	go func() {
		d, err := b.base(ctx)
		debian <- result{d, err}
	}()
	built, err := b.binaries(ctx)
	if err != nil {
		cancel()
		<-debian
		return err
	}
	base := <-debian
	if base.err != nil {
		return base.err
	}
	unfinished := dir + ".tmp"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("clear an unfinished artefact: %w", err)
	}
	if err := os.MkdirAll(unfinished, 0o755); err != nil {
		return fmt.Errorf("make the artefact: %w", err)
	}
	key, err := newSigningKey()
	if err != nil {
		return err
	}
	defer key.close()
	a := assembly{Builder: b, dir: unfinished, debian: base.dir, binaries: built, key: key}
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"bin", a.bin},
		{"stock", a.stock},
		{"mirror: Debian", a.debianArchive},
		{"mirror: Kubernetes packages", a.kubernetesPackages},
		{"mirror: containerd and runc", a.archives},
		{"gallery", a.gallery},
		{"mirror: images", a.images},
		{"containerd", func(ctx context.Context) error { return runScript(ctx, storeScript, nil, unfinished) }},
		{"packs", func(ctx context.Context) error {
			return copyTree(ctx, filepath.Join(b.Source, "packs"), filepath.Join(unfinished, "packs"))
		}},
	} {
		if err := b.step(s.name, func() error { return s.do(ctx) }); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(unfinished, "tools")); err != nil {
		return fmt.Errorf("clear: %w", err)
	}
	var parts strings.Builder
	for _, part := range []string{a.debian, a.kube, a.containerd, a.runc, a.cni} {
		fmt.Fprintln(&parts, filepath.Base(part))
	}
	if err := writeFile(filepath.Join(unfinished, partsFile), []byte(parts.String()), 0o644); err != nil {
		return err
	}
	if err := writeArtefact(unfinished); err != nil {
		return err
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return fmt.Errorf("finish the artefact: %w", err)
	}
	return nil
}

// An assembly is one artefact while it is made.
type assembly struct {
	*Builder
	binaries
	dir    string
	debian string
	key    signingKey
}

// bin is for those who run the programs on this machine.
func (a *assembly) bin(ctx context.Context) error {
	bin := filepath.Join(a.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if err := copyTree(ctx, filepath.Join(a.kube, "kube"), filepath.Join(bin, "kube")); err != nil {
		return err
	}
	for _, p := range programs {
		if err := os.Symlink("kube", filepath.Join(bin, p)); err != nil {
			return fmt.Errorf("link: %w", err)
		}
	}
	return nil
}

// stock is Debian, the guest's own changes, and the mirror's key.
func (a *assembly) stock(ctx context.Context) error {
	root := filepath.Join(a.dir, "stock")
	if err := copyTree(ctx, filepath.Join(a.debian, "root"), root); err != nil {
		return err
	}
	// The original that our runc stands before.
	if err := os.MkdirAll(filepath.Join(root, "usr/lib/simnode"), 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if err := copyTree(ctx, filepath.Join(a.runc, "runc"), filepath.Join(root, "usr/lib/simnode/runc")); err != nil {
		return err
	}
	if err := a.key.export(filepath.Join(root, "etc/apt/trusted.gpg.d/simnode.asc")); err != nil {
		return err
	}
	sources := "deb http://mirror.sim.internal/debian " + suite + " main\n"
	if err := writeFile(filepath.Join(root, "etc/apt/sources.list"), []byte(sources), 0o644); err != nil {
		return err
	}
	setup := filepath.Join(a.Source, "guest", "setup.sh")
	if _, err := os.Stat(setup); err != nil {
		a.Log("no %s: a bare root file system", setup)
		return nil
	}
	return runScript(ctx, `exec sh "$1" "$2"`, nil, setup, root)
}

// debianArchive is the archive under /debian with the suites that cloud-init's template for Debian names.
func (a *assembly) debianArchive(ctx context.Context) error {
	root := filepath.Join(a.dir, "mirror", "debian")
	pool := filepath.Join(root, "pool")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if err := copyTree(ctx, filepath.Join(a.debian, "debs"), pool); err != nil {
		return err
	}
	packages, err := packagesIndex(root, pool)
	if err != nil {
		return err
	}
	for suffix, index := range map[string][]byte{"": packages, "-updates": nil, "-security": nil, "-backports": nil} {
		s := archiveSuite{Origin: "Debian", Suite: suite + suffix, Codename: suite + suffix, Components: "main"}
		indexes := map[string][]byte{"main/binary-amd64/Packages": index, "main/source/Sources": nil}
		if err := writeSuite(s, filepath.Join(root, "dists", s.Suite), indexes, a.key); err != nil {
			return err
		}
	}
	return nil
}

// kubernetesPackages is the flat repository that pkgs.k8s.io has for a minor version.
func (a *assembly) kubernetesPackages(ctx context.Context) error {
	repository := filepath.Join(a.dir, "mirror", "kubernetes", "core:", "stable:", "v"+kubernetesMinor, "deb")
	folder := filepath.Join(repository, "amd64")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	for _, p := range a.packages() {
		if err := a.makePackage(ctx, p, folder); err != nil {
			return err
		}
	}
	index, err := packagesIndex(repository, folder)
	if err != nil {
		return err
	}
	if err := writeSuite(archiveSuite{Origin: "Kubernetes"}, repository, map[string][]byte{"Packages": index}, a.key); err != nil {
		return err
	}
	return a.key.export(filepath.Join(repository, "Release.key"))
}

// A debianPackage is a package of ours: copies and links by their paths.
type debianPackage struct {
	control
	postinst string
	copies   map[string]string // source by path
	links    map[string]string // target by path
	texts    map[string]string // content of a program by path
}

const (
	kubeletPostinst = `#!/bin/sh
set -e
if [ "$1" = configure ]; then
  if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
  systemctl enable kubelet.service || true
fi
`
	crictlText = "#!/bin/sh\necho 'crictl: this simulated machine has only ctr --namespace k8s.io' >&2\nexit 1\n"
)

// packages are what the bootstrap installs. The programs are one file in a package of its own.
func (a *assembly) packages() []debianPackage {
	const program = "../lib/simnode/kube"
	needs := "simnode-kube (= " + packageVersion + ")"
	version := packageVersion
	kubelet := filepath.Join(a.Source, "nodeimage", "kubelet")
	plugins := map[string]string{}
	for _, p := range []string{"bridge", "host-local", "loopback", "portmap"} {
		plugins["opt/cni/bin/"+p] = filepath.Join(a.cni, p)
	}
	return []debianPackage{
		{
			control: control{"simnode-kube", version, "", "all Kubernetes programs in one file"},
			copies:  map[string]string{"usr/lib/simnode/kube": filepath.Join(a.kube, "kube")},
		},
		{
			control:  control{"kubelet", version, needs + ", kubernetes-cni, conntrack, ebtables, ethtool, iptables, mount, socat, util-linux", "node agent"},
			postinst: kubeletPostinst,
			copies:   map[string]string{"lib/systemd/system/kubelet.service": filepath.Join(kubelet, "kubelet.service")},
			links:    map[string]string{"usr/bin/kubelet": program},
		},
		{
			control: control{"kubeadm", version, needs + ", kubelet, kubectl, cri-tools", "cluster bootstrap"},
			copies:  map[string]string{"lib/systemd/system/kubelet.service.d/10-kubeadm.conf": filepath.Join(kubelet, "10-kubeadm.conf")},
			links:   map[string]string{"usr/bin/kubeadm": program},
		},
		{control: control{"kubectl", version, needs, "command-line client"}, links: map[string]string{"usr/bin/kubectl": program}},
		{control: control{"kubernetes-cni", cniVersion + "-1.1", "", "CNI plugins"}, copies: plugins},
		{
			control: control{"cri-tools", kubernetesMinor + ".0-1.1", "", "stub of crictl"},
			texts:   map[string]string{"usr/bin/crictl": crictlText},
		},
	}
}

func (a *assembly) makePackage(ctx context.Context, p debianPackage, folder string) error {
	tree, err := os.MkdirTemp(a.dir, "deb-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(tree)
	if err := os.Chmod(tree, 0o755); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	for name, source := range p.copies {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		if err := copyTree(ctx, source, filepath.Join(tree, name)); err != nil {
			return err
		}
	}
	for name, target := range p.links {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		if err := os.Symlink(target, filepath.Join(tree, name)); err != nil {
			return fmt.Errorf("link: %w", err)
		}
	}
	for name, text := range p.texts {
		if err := writeFile(filepath.Join(tree, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return buildDeb(p.control, p.postinst, tree, folder)
}

// archives are the releases of containerd and runc as their makers publish them; for runc it is our own, which stands before it.
func (a *assembly) archives(ctx context.Context) error {
	github := filepath.Join(a.dir, "mirror", "github")
	releases := filepath.Join(github, "containerd", "containerd", "releases", "download", "v"+containerdVersion)
	if err := os.MkdirAll(releases, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	name := "containerd-" + containerdVersion + "-linux-amd64.tar.gz"
	out, err := exec.CommandContext(ctx, "tar", "--create", "--use-compress-program", "gzip -1", "--owner=0", "--group=0",
		"--transform", "s,^[.],bin,", "--file", filepath.Join(releases, name), "--directory", a.containerd, ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pack containerd: %w: %s", err, lastLines(out))
	}
	if err := writeSum(releases, name, name+".sha256sum"); err != nil {
		return err
	}
	releases = filepath.Join(github, "opencontainers", "runc", "releases", "download", "v"+runcVersion)
	if err := os.MkdirAll(releases, 0o755); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if err := copyTree(ctx, filepath.Join(a.kube, "runc"), filepath.Join(releases, "runc.amd64")); err != nil {
		return err
	}
	return writeSum(releases, "runc.amd64", "runc.sha256sum")
}

func writeSum(folder, name, sumName string) error {
	_, sum, err := sumFile(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(folder, sumName), []byte(sum+"  "+name+"\n"), 0o644)
}

func (a *assembly) gallery(ctx context.Context) error {
	return runScript(ctx, galleryScript, []string{
		"MINOR=" + kubernetesMinor, "PACKAGE=" + packageVersion, "CONTAINERD=" + containerdVersion, "RUNC=" + runcVersion,
	}, a.dir, filepath.Join(a.Source, "nodeimage", "gallery"))
}

// images writes the mirror's images: one layer with all programs, so that a node stores it once.
func (a *assembly) images(context.Context) error {
	kube := []entry{
		{name: "usr/local/bin/kube", source: filepath.Join(a.kube, "kube")},
		{name: "coredns", link: "usr/local/bin/kube"},
		{name: "tmp", mode: 0o1777},
	}
	for _, p := range programs {
		kube = append(kube, entry{name: "usr/local/bin/" + p, link: "kube"})
	}
	tools := filepath.Join(a.dir, "tools")
	err := filepath.WalkDir(tools, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		relative, err := filepath.Rel(tools, name)
		if err != nil {
			return err //nolint:wrapcheck // names the file
		}
		if !strings.Contains(relative, "/") {
			relative = "usr/sbin/" + relative
		}
		kube = append(kube, entry{name: relative, source: name})
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the tools: %w", err)
	}
	return writeLayout(filepath.Join(a.dir, "mirror", "oci"), map[string][]entry{
		"kube":  kube,
		"pause": {{name: "pause", source: filepath.Join(a.kube, "pause")}},
	}, images())
}
