// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// MaxUserData is the most that UserData returns, in bytes: half of what Azure
// takes as custom data (65535 bytes decoded, VirtualMachines
// osProfile.customData), so that there is room for what is not thought of yet.
const MaxUserData = 32 << 10

// The annotations by which a machine tells of its bootstrap on its own Node.
const (
	PhaseAnnotation = "lazuli.io/bootstrap-phase" // such as kubeadm-join
	StateAnnotation = "lazuli.io/bootstrap-state" // done or failed
	LogAnnotation   = "lazuli.io/bootstrap-log"   // last lines of the log after a failure
)

const (
	pkiFolder     = "/etc/kubernetes/pki"
	configFolder  = "/etc/lazuli"
	programFolder = "/usr/local/lib/lazuli"
	stateFolder   = "/var/lib/lazuli"

	secretMode  = "0600"
	publicMode  = "0644"
	programMode = "0700"
)

//go:embed script
var scripts embed.FS

type cloudConfig struct {
	APT        *aptConfig  `json:"apt,omitempty"`
	Hosts      bool        `json:"manage_etc_hosts"`
	WriteFiles []writeFile `json:"write_files"`
	RunCmd     []string    `json:"runcmd"`
}

type aptConfig struct {
	Primary  []aptSource `json:"primary"`
	Security []aptSource `json:"security"`
}

type aptSource struct {
	Arches []string `json:"arches"`
	URI    string   `json:"uri"`
}

type writeFile struct {
	Path        string `json:"path"`
	Owner       string `json:"owner"`
	Permissions string `json:"permissions"`
	Content     string `json:"content"`
}

// UserData renders the whole user data of machine n: a cloud-config document,
// compressed (which cloud-init recognises) only where it would be larger than
// [MaxUserData]. joiners are the tokens that the init node registers, one per
// machine that will join, and are ignored for other roles. Control planes get the
// PKI; a worker gets no secret but its own token, and p may then hold the CA's
// certificate alone. The result is secret and depends on the arguments alone.
//
// Errors name the field that cannot be rendered and never contain a secret.
func UserData(c Cluster, p PKI, n Node, joiners []Token) ([]byte, error) {
	if err := errors.Join(c.Validate(), n.validate(c), validateTokens(n, joiners)); err != nil {
		return nil, fmt.Errorf("render user data: %w", err)
	}
	c = c.withDefaults()
	if n.controlPlane() {
		if err := p.validate(); err != nil {
			return nil, fmt.Errorf("render user data: %w", err)
		}
	}
	config, err := render(c, p, n, joiners)
	if err != nil {
		return nil, fmt.Errorf("render user data: %w", err)
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encode user data: %w", err)
	}
	return bounded(append([]byte("#cloud-config\n"), text...))
}

func validateTokens(n Node, joiners []Token) error {
	if n.Role != Init {
		return nil
	}
	var f findings
	seen := map[string]bool{}
	for i, t := range joiners {
		field := fmt.Sprintf("joiners[%d]", i)
		if err := t.Validate(); err != nil {
			f.add(field, "%s", err)
			continue
		}
		f.require(!seen[t.ID()], field, "token id %s is there twice", t.ID())
		seen[t.ID()] = true
	}
	return errors.Join(f...)
}

func bounded(text []byte) ([]byte, error) {
	if len(text) <= MaxUserData {
		return text, nil
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress user data: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("compress user data: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress user data: %w", err)
	}
	if b.Len() > MaxUserData {
		return nil, fmt.Errorf("user data of %d bytes is %d compressed, more than %d", len(text), b.Len(), MaxUserData)
	}
	return b.Bytes(), nil
}

func render(c Cluster, p PKI, n Node, joiners []Token) (cloudConfig, error) {
	config := cloudConfig{RunCmd: []string{programFolder + "/bootstrap"}}
	add := func(path, mode, content string) {
		config.WriteFiles = append(config.WriteFiles, writeFile{Path: path, Owner: "root:root", Permissions: mode, Content: content})
	}
	var kubeadm string
	var err error
	if n.Role == Init {
		kubeadm, err = kubeadmInit(c, n, joiners)
	} else {
		kubeadm, err = kubeadmJoin(c, p, n)
	}
	if err != nil {
		return config, err
	}
	add(configFolder+"/kubeadm.yaml", secretMode, kubeadm)
	if n.controlPlane() {
		for _, f := range p.files() {
			mode := secretMode
			if f.public {
				mode = publicMode
			}
			add(pkiFolder+"/"+f.name, mode, f.content)
		}
	}
	for _, f := range n.Files {
		mode := f.Mode
		if mode == "" {
			mode = secretMode
		}
		add(f.Path, mode, f.Content)
	}
	env, err := environment(c, n)
	if err != nil {
		return config, err
	}
	add(configFolder+"/bootstrap.env", secretMode, env)
	if err := addPrograms(c, n, add); err != nil {
		return config, err
	}
	if m := c.Mirror.UbuntuArchive; m != "" && c.Image == Stock {
		source := []aptSource{{Arches: []string{"default"}, URI: m}}
		config.APT = &aptConfig{Primary: source, Security: source}
	}
	return config, nil
}

// addPrograms adds the script of the machine's role and what it starts.
func addPrograms(c Cluster, n Node, add func(path, mode, content string)) error {
	parts := []string{"common.sh", "image-gallery.sh"}
	if c.Image == Stock {
		parts[1] = "image-stock.sh"
	}
	switch n.Role {
	case Init:
		parts = append(parts, "controlplane.sh", "init.sh")
	case ControlPlane:
		parts = append(parts, "controlplane.sh", "join-controlplane.sh")
	case Worker:
		parts = append(parts, "join-worker.sh")
	}
	var script strings.Builder
	for i, part := range parts {
		text, err := asset(part)
		if err != nil {
			return err
		}
		if i > 0 {
			script.WriteString("\n")
		}
		script.WriteString(text)
	}
	add(programFolder+"/bootstrap", programMode, script.String())
	files := []struct{ path, mode, asset string }{
		{programFolder + "/wireserver", programMode, "wireserver.sh"},
		{"/etc/systemd/system/lazuli-wireserver.service", publicMode, "wireserver.service"},
		{"/etc/systemd/system/lazuli-bootstrap.service", publicMode, "bootstrap.service"},
	}
	if c.Image == Stock {
		files = append(files, []struct{ path, mode, asset string }{
			{"/etc/modules-load.d/lazuli.conf", publicMode, "modules.conf"},
			{"/etc/sysctl.d/90-lazuli.conf", publicMode, "sysctl.conf"},
			{"/etc/systemd/system/containerd.service", publicMode, "containerd.service"},
		}...)
	}
	for _, f := range files {
		text, err := asset(f.asset)
		if err != nil {
			return err
		}
		add(f.path, f.mode, text)
	}
	if c.Image == Stock {
		config, err := containerdConfig(c)
		if err != nil {
			return err
		}
		add("/etc/containerd/config.toml", publicMode, config)
	}
	if c.Mirror.Registry != "" {
		hosts, err := registryHosts(c.Mirror.Registry)
		if err != nil {
			return err
		}
		add("/etc/containerd/certs.d/_default/hosts.toml", publicMode, hosts)
	}
	return nil
}

func asset(name string) (string, error) {
	text, err := scripts.ReadFile("script/" + name)
	if err != nil {
		return "", fmt.Errorf("read embedded %s: %w", name, err)
	}
	return strings.TrimPrefix(string(text), "# SPDX-License-Identifier: Apache-2.0\n"), nil
}

// environment is the file that carries values to the script: one single-quoted
// assignment a line, in the order of the names.
func environment(c Cluster, n Node) (string, error) {
	r, err := release(c.KubernetesVersion)
	if err != nil {
		return "", err
	}
	values := map[string]string{
		"LAZULI_ENDPOINT": c.Endpoint,
		"LAZULI_NODE":     n.Name,
		"LAZULI_VERSION":  c.KubernetesVersion,
	}
	if n.controlPlane() {
		values["LAZULI_AS_WORKER"] = strconv.FormatBool(n.UseAsWorker)
		values["LAZULI_ETCD_LUN"] = strconv.Itoa(n.EtcdDiskLUN)
		values["LAZULI_ETCD_MOUNT"] = etcdMount
		values["LAZULI_ETCD_DATA"] = etcdDataDir
	}
	if c.Image == Stock {
		values["LAZULI_MINOR"] = r.minor
		values["LAZULI_PACKAGE"] = c.KubernetesVersion + packageRevision
		values["LAZULI_CONTAINERD"] = containerdVersion
		values["LAZULI_RUNC"] = runcVersion
		values["LAZULI_APT"] = orElse(c.Mirror.AptKubernetes, "https://pkgs.k8s.io")
		values["LAZULI_BINARIES"] = orElse(c.Mirror.Binaries, "https://github.com")
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(k + "=" + shellQuote(values[k]) + "\n")
	}
	return b.String(), nil
}

// shellQuote makes one word of s for a POSIX shell, whatever is in it.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// containerdConfig is containerd's configuration, version 3.
func containerdConfig(c Cluster) (string, error) {
	r, err := release(c.KubernetesVersion)
	if err != nil {
		return "", err
	}
	sandbox, err := tomlString("registry.k8s.io/pause:" + r.pause)
	if err != nil {
		return "", err
	}
	text, err := asset("containerd.toml")
	if err != nil {
		return "", err
	}
	return text + "\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\n  sandbox = " + sandbox + "\n", nil
}

// registryHosts sends every pull to the mirror first; containerd falls back to
// the image's own registry.
func registryHosts(mirror string) (string, error) {
	host, err := tomlString(mirror)
	if err != nil {
		return "", err
	}
	return "[host." + host + "]\n  capabilities = [\"pull\", \"resolve\"]\n", nil
}

// tomlString makes a basic string of TOML, whose escapes include JSON's.
func tomlString(s string) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode string: %w", err)
	}
	return string(text), nil
}
