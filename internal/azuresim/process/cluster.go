// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	healthPause   = 200 * time.Millisecond
	healthTimeout = 4 * time.Minute // kubeadm's timeouts.controlPlaneComponentHealthCheck
	restartPause  = 2 * time.Second
	etcdPort      = 2379
	etcdPeerPort  = 2380
)

// cluster is the control plane of one CA: its files, and its processes on a loopback address.
type cluster struct {
	id, dir, ip string
	port        int
	owner       *Machines
	commands    []command // in the order of their start: etcd, API server, the rest
	admin       *client

	members map[*machine]bool // the control planes that are not forgotten; guarded by Machines.mu

	mu      sync.Mutex // guards what follows: whether the processes run
	stop    context.CancelFunc
	group   *sync.WaitGroup
	powered map[*machine]bool // the control planes that are switched on
}

// address is where the API server really listens.
func (c *cluster) address() string { return net.JoinHostPort(c.ip, fmt.Sprint(c.port)) }

// freeAddress finds a loopback address that nobody listens on: 127.128.0.0/9, beside the cloud's public addresses.
func freeAddress(ports ...int) (string, error) {
	const tries = 50
	var last error
	for range tries {
		ip := fmt.Sprintf("127.%d.%d.%d", 128+rand.IntN(127), rand.IntN(256), 1+rand.IntN(254)) //nolint:gosec // no secret
		last = nil
		for _, port := range ports {
			l, err := net.Listen("tcp", net.JoinHostPort(ip, fmt.Sprint(port))) //nolint:noctx // at once
			if err != nil {
				last = err
				break
			}
			_ = l.Close()
		}
		if last == nil {
			return ip, nil
		}
	}
	return "", fmt.Errorf("find a loopback address: %w", last)
}

// identity is the SHA-256 of a CA certificate in PEM.
func identity(ca []byte) (string, error) {
	block, _ := pem.Decode(ca)
	if block == nil {
		return "", errors.New("the CA certificate is not PEM")
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:]), nil
}

// pki is the folder of a cluster's certificates.
func (c *cluster) pki() string { return filepath.Join(c.dir, "pki") }

// path is a file of a cluster's folder.
func (c *cluster) path(name string) string { return filepath.Join(c.dir, name) }

// pkiDir is where kubeadm keeps certificates in a machine.
const pkiDir = "/etc/kubernetes/pki/"

// writeFiles puts the certificates of the user data where kubeadm will look for them.
func (c *cluster) writeFiles(files map[string]string) error {
	for path, content := range files {
		name, ok := strings.CutPrefix(path, pkiDir)
		if !ok || !filepath.IsLocal(name) {
			continue
		}
		to := filepath.Join(c.pki(), name)
		err := os.MkdirAll(filepath.Dir(to), 0o700)
		if err == nil {
			err = os.WriteFile(to, []byte(content), 0o600)
		}
		if err != nil {
			return fmt.Errorf("write certificates: %w", err)
		}
	}
	return nil
}

// readCommands makes commands of the manifests that kubeadm wrote: its flags, with folders and addresses of this machine.
func (c *cluster) readCommands(files map[string]string) error {
	url := func(scheme string, port int) string {
		return fmt.Sprintf("%s://%s:%d", scheme, c.ip, port)
	}
	conf := func(name string) map[string]string {
		path := c.path(name)
		return map[string]string{
			"kubeconfig": path, "authentication-kubeconfig": path, "authorization-kubeconfig": path,
			"bind-address": c.ip, "leader-elect": "false",
		}
	}
	for _, p := range []struct {
		program string
		with    map[string]string
	}{
		{"etcd", map[string]string{
			"data-dir": c.path("etcd"), "listen-client-urls": url("https", etcdPort), "advertise-client-urls": url("https", etcdPort),
			"listen-peer-urls": url("https", etcdPeerPort), "initial-advertise-peer-urls": url("https", etcdPeerPort),
			"name": "default", "initial-cluster": "default=" + url("https", etcdPeerPort),
			"listen-metrics-urls": url("http", etcdPeerPort+1), "unsafe-no-fsync": "true", "log-level": "warn",
		}},
		{"kube-apiserver", map[string]string{"bind-address": c.ip, "etcd-servers": url("https", etcdPort)}},
		{"kube-controller-manager", conf("controller-manager.conf")},
		{"kube-scheduler", conf("scheduler.conf")},
	} {
		raw, err := os.ReadFile(c.path(p.program + ".yaml"))
		if err != nil {
			return fmt.Errorf("read kubeadm's manifest: %w", err)
		}
		list, err := manifestArgs(raw)
		if err != nil {
			return err
		}
		if list, err = c.brought(list, files); err != nil {
			return err
		}
		c.commands = append(c.commands, command{
			program: p.program, args: withArgs(list, p.with), dir: c.dir, log: c.path(p.program + ".log"),
		})
	}
	return nil
}

// brought replaces files that the user data brought for a flag (an audit policy, say) by copies of this machine.
func (c *cluster) brought(list []string, files map[string]string) ([]string, error) {
	for i, arg := range list {
		name, value, _ := strings.Cut(arg, "=")
		content, ok := files[value]
		if !ok {
			continue
		}
		to := c.path("file" + strings.ReplaceAll(value, "/", "-"))
		if err := os.WriteFile(to, []byte(content), 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", value, err)
		}
		list[i] = name + "=" + to
	}
	return list, nil
}

// redirect points a kubeconfig that kubeadm wrote at the loopback address.
func (c *cluster) redirect(from, to string) error {
	raw, err := os.ReadFile(c.path(from))
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	lines := strings.Split(string(raw), "\n")
	for i, line := range lines {
		if before, _, ok := strings.Cut(line, "server: "); ok {
			lines[i] = before + "server: https://" + c.address()
		}
	}
	if err := os.WriteFile(c.path(to), []byte(strings.Join(lines, "\n")), 0o600); err != nil { //nolint:gosec // of our folder
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// up starts the processes unless they run, and waits until the API server is healthy.
func (c *cluster) up(ctx context.Context, m *machine) error {
	c.mu.Lock()
	c.powered[m] = true
	if c.stop == nil {
		life, cancel := context.WithCancel(context.Background()) // Ends with down.
		c.stop, c.group = cancel, &sync.WaitGroup{}
		for i, cmd := range c.commands {
			group := c.group
			group.Go(func() {
				if i > 1 && c.healthy(life) != nil { // The rest would only fail before.
					return
				}
				c.keep(life, cmd)
			})
		}
		c.group.Go(func() { c.initialiseNodes(life) })
	}
	c.mu.Unlock()
	began := time.Now()
	if err := c.healthy(ctx); err != nil {
		return fmt.Errorf("kube-apiserver check failed at https://%s:%d/livez: %w\n%s", m.PrivateIP, c.port, err, lastWords(c.path("kube-apiserver.log")))
	}
	m.cloudInit("[control-plane-check] kube-apiserver is healthy after %s", time.Since(began).Round(time.Millisecond))
	return nil
}

func (c *cluster) healthy(ctx context.Context) error {
	return poll(ctx, healthPause, healthTimeout, func(ctx context.Context) error {
		err := c.admin.call(ctx, http.MethodGet, "/readyz", "", nil, nil)
		return err
	})
}

// keep runs a process until the cluster goes down, as the kubelet keeps static pods.
func (c *cluster) keep(ctx context.Context, cmd command) {
	for ctx.Err() == nil {
		k, err := c.owner.start(cmd)
		if err != nil {
			c.owner.log.Error("start control plane", "program", cmd.program, "error", err)
		} else {
			select {
			case <-ctx.Done():
				k.kill()
				return
			case <-k.done:
				c.owner.log.Warn("control plane process ended", "program", cmd.program, "error", k.err, "log", lastWords(cmd.log))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(restartPause):
		}
	}
}

// release says that a control plane is switched off: the last one's processes end.
func (c *cluster) release(m *machine) {
	c.mu.Lock()
	delete(c.powered, m)
	last := len(c.powered) == 0
	c.mu.Unlock()
	if last {
		c.down()
	}
}

// down ends the processes and waits until they are gone, unless a control plane has been switched on. The data stays.
func (c *cluster) down() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop == nil || len(c.powered) > 0 {
		return
	}
	c.stop()
	c.group.Wait()
	c.stop = nil
	c.admin.close()
}
