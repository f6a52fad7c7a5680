// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

const (
	// packageHost is where a stock image gets Kubernetes from; the route to it stands for all downloads.
	packageHost = "pkgs.k8s.io"
	httpsPort   = 443
	// installRetry is how long an install waits after a download without a route.
	installRetry = 10 * time.Second
	// outerPause is what a script's own loop waits between calls of kubeadm, at most maxOuterPause.
	outerPause    = 10 * time.Second
	maxOuterPause = time.Minute
	// outerTries bounds a script's own loop.
	outerTries = 60
)

// firstBoot runs a machine up to the final stage of cloud-init. Azure hears that the OS is provisioned whatever the
// user data says.
func (m *machine) firstBoot() {
	m.say("Linux version 6.14.0-1017-azure (buildd@lcy02-amd64-102) #17~24.04.1-Ubuntu SMP")
	m.say("Command line: BOOT_IMAGE=/vmlinuz-6.14.0-1017-azure console=tty1 console=ttyS0")
	m.after(azuresim.ProvisioningTime(m.env, m.Machine), func() {
		m.cloudInit("Cloud-init v. 25.2-0ubuntu1~24.04.1 running 'init' on %s. Datasource DataSourceAzure", m.ComputerName)
		m.env.Provisioned(m.ID, nil)
		m.after(m.timing.final, m.finalStage)
	})
}

// plan is what a machine's user data wants of it.
type plan struct {
	user   *userData
	call   *kubeadmCall
	config *kubeadmConfig
}

func (m *machine) readPlan() (*plan, error) { return readPlan(m.CustomData, m.ComputerName) }

func readPlan(customData []byte, hostname string) (*plan, error) {
	user, err := parseUserData(customData, hostname)
	if err != nil {
		return nil, err
	}
	call, err := findKubeadm(user)
	if err != nil {
		return nil, err
	}
	config, err := parseKubeadm(call.config)
	if err != nil {
		return nil, err
	}
	return &plan{user: user, call: call, config: config}, nil
}

// finalStage is where runcmd runs.
func (m *machine) finalStage() {
	m.cloudInit("Cloud-init v. 25.2-0ubuntu1~24.04.1 running 'modules:final'")
	p, err := m.readPlan()
	if err != nil {
		m.giveUp(err)
		return
	}
	m.cloudInit("found kubeadm %s --config %s", p.call.action, p.call.configPath)
	m.install(func() {
		if p.call.action == actionInit {
			m.initNode(p)
			return
		}
		m.joinNode(p)
	})
}

// giveUp is the end of a bootstrap that cannot succeed.
func (m *machine) giveUp(err error) {
	m.owner.log.Warn("bootstrap failed", "machine", m.Name, "error", err)
	m.cloudInit("error: %v", err)
	m.cloudInit("%s - cc_scripts_user.py[WARNING]: Failed to run module scripts_user (scripts in /var/lib/cloud/instance/scripts)",
		m.env.Now().Format("2006-01-02 15:04:05,000"))
	m.cloudInit("Cloud-init v. 25.2-0ubuntu1~24.04.1 finished with errors")
}

// stock says whether an image holds no Kubernetes: marketplace images are publisher:offer:sku:version, galleries ids.
func stock(image string) bool { return !strings.Contains(image, "/") && image != "" }

// install downloads Kubernetes on a stock image. Without a way out it goes on trying, as the package tools' retries do.
func (m *machine) install(next func()) {
	if !stock(m.Image) {
		next()
		return
	}
	if _, err := m.env.Reach(m.ID, packageHost, httpsPort); err != nil {
		m.cloudInit("curl: (28) Failed to connect to %s port %d: %v", packageHost, httpsPort, err)
		m.after(installRetry, func() { m.install(next) })
		return
	}
	m.cloudInit("Setting up kubelet, kubeadm, containerd ...")
	m.after(m.timing.install, next)
}

// again runs one more attempt of a script that loops; others have failed for good.
func (m *machine) again(p *plan, attempt int, err error, try func(attempt int)) {
	m.cloudInit("error execution phase: %v", err)
	if !p.call.loops || attempt >= outerTries {
		m.giveUp(fmt.Errorf("kubeadm %s: %w", p.call.action, err))
		return
	}
	m.after(min(time.Duration(attempt)*outerPause, maxOuterPause), func() { try(attempt + 1) })
}

// rejoin brings a machine back that had joined before it was stopped.
func (m *machine) rejoin() {
	m.say("Linux version 6.14.0-1017-azure (buildd@lcy02-amd64-102) #17~24.04.1-Ubuntu SMP")
	m.after(m.timing.reboot, func() {
		m.env.Provisioned(m.ID, nil)
		m.cloudInit("Cloud-init v. 25.2-0ubuntu1~24.04.1 running 'modules:final'")
		m.startKubelet()
		if m.controlPlane {
			m.after(m.timing.joinHealthy, m.serveAPI)
		}
	})
}

// startKubelet makes the node's heartbeats come again.
func (m *machine) startKubelet() {
	m.update(func() { m.kubelet, m.lost = true, false })
	m.say("systemd[1]: Started kubelet.service - kubelet: The Kubernetes Node Agent.")
	m.cluster.kick()
}

// serveAPI makes the machine's kube-apiserver healthy.
func (m *machine) serveAPI() {
	m.update(func() { m.apiUp = true })
	m.owner.log.Info("API server healthy", "machine", m.Name)
	m.cluster.kick()
}
