// SPDX-License-Identifier: Apache-2.0

package model

// Bootstrap is what a machine's user data leads to.
type Bootstrap struct {
	// Init says that the machine begins a cluster (kubeadm init); the others join one.
	Init bool
	// Config is kubeadm's configuration: YAML documents that kubeadm would accept as far as this package can tell.
	Config string
	// Files are the files that cloud-init writes, by path.
	Files map[string]string
	// Loops says that the script that calls kubeadm tries again when it fails.
	Loops bool
}

// ReadUserData reads custom data for a level that boots it by other means. It refuses what cloud-init and kubeadm refuse
// before they ask anyone, in their words.
func ReadUserData(customData []byte, hostname string) (*Bootstrap, error) {
	p, err := readPlan(customData, hostname)
	if err != nil {
		return nil, err
	}
	user, call, config := p.user, p.call, p.config
	b := &Bootstrap{Init: call.action == actionInit, Config: call.config, Files: map[string]string{}, Loops: call.loops}
	var node *nodeRegistration
	if b.Init {
		if err := config.checkInit(hostname); err != nil {
			return nil, err
		}
		node = &config.init.NodeRegistration
	} else {
		if err := config.checkJoin(hostname); err != nil {
			return nil, err
		}
		node = &config.join.NodeRegistration
	}
	if _, err := nodeLabels(node); err != nil {
		return nil, err
	}
	for path, f := range user.files {
		b.Files[path] = f.content
	}
	return b, nil
}
