// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/vnet"
)

// networks are the virtual networks that have a machine.
type networks struct {
	owner *Machines
	mu    sync.Mutex // also while one is made or removed
	byID  map[string]*shared
}

// shared is a network and how many machines are in it.
type shared struct {
	id      string
	network *vnet.Network
	users   int
}

// join makes a network, if it is not there, and keeps it until the matching leave.
func (ns *networks) join(ctx context.Context, id string, env azuresim.Env) (*shared, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if s := ns.byID[id]; s != nil {
		s.users++
		return s, nil
	}
	n, err := vnet.New(context.WithoutCancel(ctx), id, vnet.Config{
		Prefix: ns.owner.prefix, Cloud: env, Mirror: ns.owner.artefact.mirror(), Report: ns.owner.report, Dial: ns.owner.Dial, Logger: ns.owner.log,
	})
	if err != nil {
		return nil, err
	}
	s := &shared{id: id, network: n, users: 1}
	ns.byID[id] = s
	return s, nil
}

func (ns *networks) leave(s *shared) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	s.users--
	if s.users > 0 {
		return nil
	}
	delete(ns.byID, s.id)
	return s.network.Close()
}

func (ns *networks) close() error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	var errs []error
	for _, s := range ns.byID {
		errs = append(errs, s.network.Close())
	}
	clear(ns.byID)
	return errors.Join(errs...)
}

// networkOf is the network of a machine that runs; nil when it does not.
func (ms *Machines) networkOf(id string) *vnet.Network {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m := ms.machines[strings.ToLower(id)]; m != nil {
		return m.network
	}
	return nil
}

// update reads the attachments of all running machines until nothing has changed meanwhile.
func (ms *Machines) update() {
	for {
		ms.mu.Lock()
		if !ms.changed || ms.closed {
			ms.watching = false
			ms.mu.Unlock()
			return
		}
		ms.changed = false
		running := map[string]*machine{}
		for id, m := range ms.machines {
			if m.network != nil {
				running[id] = m
			}
		}
		ms.mu.Unlock()
		for id, m := range running {
			if err := ms.updateOne(id, m); err != nil {
				ms.log.Warn("update network rules", "machine", id, "error", err)
			}
		}
	}
}

func (ms *Machines) updateOne(id string, m *machine) error {
	ms.mu.Lock()
	n, env := m.network, m.env
	ms.mu.Unlock()
	if n == nil {
		return nil
	}
	at, err := env.Attachment(id)
	if errors.Is(err, azuresim.ErrUnreachable) {
		return nil // It is going.
	}
	if err == nil {
		err = n.Update(id, at)
	}
	if err != nil && ms.networkOf(id) == nil {
		return nil // It went meanwhile.
	}
	if err != nil {
		return fmt.Errorf("update attachment: %w", err)
	}
	return nil
}
