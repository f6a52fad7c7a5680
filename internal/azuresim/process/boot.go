// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
)

const (
	// outerPause is what a script's own loop waits between calls of kubeadm, at most maxOuterPause.
	outerPause    = 10 * time.Second
	maxOuterPause = time.Minute
	// outerTries bounds a script's own loop.
	outerTries = 60
	// kubeletRestart is how long systemd waits before it starts a kubelet again.
	kubeletRestart = 10 * time.Second
	// packageHost is where a stock image gets Kubernetes from; the route to it stands for all downloads.
	packageHost  = "pkgs.k8s.io"
	httpsPort    = 443
	installRetry = 10 * time.Second
)

// machine is one virtual machine and its disk. Fields below the line are guarded by Machines.mu, but that only the boot
// writes what it alone reads.
type machine struct {
	azuresim.Machine
	key, dir string
	owner    *Machines
	env      azuresim.Env

	running bool
	stop    context.CancelFunc
	ended   chan struct{} // closed when the boot and its processes are over
	began   time.Time
	joined  bool // its disk holds a node of cluster
	cluster *cluster
	node    registration
	serves  bool // the API server answers on port
	port    int
	conns   map[*conn]bool // to the API server through this machine
}

// conn is a connection that ends with the machine.
type conn struct {
	net.Conn
	of *machine
}

// Close is net.Conn.
func (c *conn) Close() error {
	c.of.owner.mu.Lock()
	delete(c.of.conns, c)
	c.of.owner.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets a proxy pass on the end of one direction.
func (c *conn) CloseWrite() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return nil
}

// run is a machine's life from power on to power off.
func (m *machine) run(ctx context.Context) {
	defer m.powerOff()
	m.began = m.env.Now()
	m.say("Linux version 6.14.0-1017-azure (buildd@lcy02-amd64-102) #17~24.04.1-Ubuntu SMP")
	if !m.wait(ctx, azuresim.ProvisioningTime(m.env, m.Machine)) {
		return
	}
	m.env.Provisioned(m.ID, nil)
	m.cloudInit("Cloud-init v. 25.2-0ubuntu1~24.04.1 running 'modules:final'")
	var err error
	if m.joined {
		err = m.rejoin(ctx)
	} else {
		err = m.bootstrap(ctx)
	}
	if err == nil {
		err = m.keepKubelet(ctx)
	}
	if ctx.Err() == nil && err != nil {
		m.owner.log.Warn("bootstrap failed", "machine", m.Name, "error", err)
		m.cloudInit("error: %v", err)
		m.cloudInit("Cloud-init v. 25.2-0ubuntu1~24.04.1 finished with errors")
		<-ctx.Done() // It stands there as a machine without a node.
	}
}

// powerOff takes the machine from its cluster.
func (m *machine) powerOff() {
	m.owner.mu.Lock()
	m.serves = false
	conns := m.conns
	m.conns = nil
	c := m.cluster
	m.owner.mu.Unlock()
	for cn := range conns {
		_ = cn.Conn.Close()
	}
	if c != nil {
		c.release(m)
	}
}

// bootstrap does what the user data asks for, as often as its script would.
func (m *machine) bootstrap(ctx context.Context) error {
	user, err := model.ReadUserData(m.CustomData, m.ComputerName)
	if err != nil {
		return err
	}
	if err := m.install(ctx); err != nil {
		return err
	}
	try := m.join
	if user.Init {
		try = m.init
	}
	for attempt := 1; ; attempt++ {
		cfg, err := parseConfig(user.Config)
		if err != nil {
			return err
		}
		if err = os.RemoveAll(m.dir); err == nil {
			err = os.MkdirAll(m.dir, 0o700)
		}
		if err != nil {
			return fmt.Errorf("make the machine's disk: %w", err)
		}
		err = try(ctx, user, cfg)
		if err == nil {
			m.update(func() { m.joined = true })
			m.owner.log.Info("machine joined", "machine", m.Name, "after", m.env.Now().Sub(m.began))
			m.cloudInit("Cloud-init v. 25.2-0ubuntu1~24.04.1 finished. Datasource DataSourceAzure [seed=/dev/sr0].  Up %.2f seconds",
				m.env.Now().Sub(m.began).Seconds())
			return nil
		}
		if ctx.Err() != nil || !user.Loops || attempt >= outerTries {
			return err
		}
		m.cloudInit("error execution phase: %v", err)
		if !m.wait(ctx, min(time.Duration(attempt)*outerPause, maxOuterPause)) {
			return ctx.Err()
		}
	}
}

// install is the download of Kubernetes on a stock image: nothing is downloaded, but without a way out it goes on trying.
func (m *machine) install(ctx context.Context) error {
	if strings.Contains(m.Image, "/") || m.Image == "" {
		return nil
	}
	for {
		_, err := m.env.Reach(m.ID, packageHost, httpsPort)
		if err == nil {
			m.cloudInit("Setting up kubelet, kubeadm, containerd ... (the simulator's own programs)")
			return nil
		}
		m.cloudInit("curl: (28) Failed to connect to %s port %d: %v", packageHost, httpsPort, err)
		if !m.wait(ctx, installRetry) {
			return ctx.Err()
		}
	}
}

// rejoin brings a machine back that had joined before it was stopped.
func (m *machine) rejoin(ctx context.Context) error {
	if !m.node.controlPlane {
		return nil
	}
	if err := m.cluster.up(ctx, m); err != nil {
		return err
	}
	m.serve(m.cluster)
	return nil
}

// serve makes the cluster's API server answer on this machine.
func (m *machine) serve(c *cluster) {
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	m.cluster = c
	m.serves = m.running
	c.members[m] = true
}

// keepKubelet runs the hollow kubelet until the machine stops, as systemd does.
func (m *machine) keepKubelet(ctx context.Context) error {
	url, secret := m.owner.proxy.open(m.dial())
	defer m.owner.proxy.shut(secret)
	for {
		k, err := m.owner.start(command{
			program: hollowProgram, dir: m.dir, log: filepath.Join(m.dir, "kubelet.log"), proxy: url,
			args: []string{
				"--morph=kubelet", "--name=" + m.node.name, "--kubeconfig=" + m.kubeconfig(), "--cert-dir=" + m.dir,
				"--use-host-image-service=false", "--kubelet-port=0", "--kubelet-read-only-port=0",
			},
		})
		if err != nil {
			return err
		}
		m.say("systemd[1]: Started kubelet.service - kubelet: The Kubernetes Node Agent.")
		select {
		case <-ctx.Done():
			k.kill()
			return nil
		case <-k.done:
			m.say("systemd[1]: kubelet.service: Main process exited: %v\n%s", k.err, lastWords(k.log))
			m.owner.log.Warn("hollow kubelet ended", "machine", m.Name, "error", k.err)
		}
		if !m.wait(ctx, kubeletRestart) {
			return nil
		}
	}
}

// kubeconfig is the path of the kubelet's credentials.
func (m *machine) kubeconfig() string { return filepath.Join(m.dir, "kubelet.conf") }

// kubernetesDir is kubeadm's folder in a machine.
const kubernetesDir = "/etc/kubernetes"

// kubeadm runs a phase of the real kubeadm and puts what it says on the console.
func (m *machine) kubeadm(ctx context.Context, dir, proxy string, args ...string) error {
	log := filepath.Join(dir, "kubeadm.log")
	before, _ := os.Stat(log) // There is none before the first phase.
	k, err := m.owner.start(command{program: "kubeadm", args: args, dir: dir, log: log, proxy: proxy})
	if err != nil {
		return err
	}
	select {
	case <-k.done:
	case <-ctx.Done():
		k.kill()
		return ctx.Err()
	}
	raw, err := os.ReadFile(log)
	if err != nil {
		return fmt.Errorf("read kubeadm's log: %w", err)
	}
	if before != nil {
		raw = raw[min(before.Size(), int64(len(raw))):]
	}
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "[") && !strings.HasPrefix(line, "[dryrun]") || k.err != nil {
			m.cloudInit("%s", strings.ReplaceAll(strings.TrimRight(line, "\n"), dir, kubernetesDir))
		}
	}
	if k.err != nil {
		return fmt.Errorf("kubeadm %s: %s", strings.Join(args[:min(len(args), 4)], " "), strings.ReplaceAll(strings.TrimSpace(lastWords(log)), dir, kubernetesDir))
	}
	return nil
}

// wait sleeps for simulated time; false when the machine stops before.
func (m *machine) wait(ctx context.Context, d time.Duration) bool {
	over := make(chan struct{})
	m.env.After(d, func() { close(over) })
	select {
	case <-ctx.Done():
		return false
	case <-over:
		return true
	}
}

// poll tries until it succeeds, for real time: what is waited for are processes. It returns the last error.
func poll(ctx context.Context, every, most time.Duration, try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	pause := time.NewTicker(every)
	defer pause.Stop()
	for {
		err := try(ctx)
		if err == nil || errors.Is(err, errFatal) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-pause.C:
		}
	}
}

// errFatal marks an error that waiting does not mend.
var errFatal = errors.New("fatal")

// update changes guarded fields.
func (m *machine) update(fn func()) {
	m.owner.mu.Lock()
	defer m.owner.mu.Unlock()
	fn()
}

// say writes lines to the serial console with the kernel's idea of time.
func (m *machine) say(format string, a ...any) {
	up := m.env.Now().Sub(m.began).Seconds()
	for line := range strings.SplitSeq(fmt.Sprintf(format, a...), "\n") {
		m.env.Console(m.ID, fmt.Sprintf("[%12.6f] %s", up, line))
	}
}

// cloudInit writes a line as cloud-init's output is seen on the console.
func (m *machine) cloudInit(format string, a ...any) { m.say("cloud-init[1042]: "+format, a...) }
