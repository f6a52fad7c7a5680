// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/vnet"
)

// machine is one virtual machine. What is done to it is done one after the other by a worker; only pulling the plug
// also interrupts the boot under way.
type machine struct {
	owner *Machines
	key   string

	// Guarded by the owner's lock.
	env     azuresim.Env
	on      bool // is meant to run
	pull    context.CancelFunc
	queue   []func()
	working bool
	network *vnet.Network // while the guest runs

	// The worker's own.
	azuresim.Machine
	disk  *disk
	joint *shared // the network, while there is a port in it
	loops []*loop
	guest *guest
	group string // of cgroups
}

// disk is what outlives a Stop.
type disk struct {
	dir  string
	name string // short, for the machine
}

// enqueue gives the worker something to do. The owner's lock is held.
func (m *machine) enqueue(act func()) {
	m.queue = append(m.queue, act)
	if m.working {
		return
	}
	m.working = true
	m.owner.workers.Go(m.work)
}

func (m *machine) work() {
	for {
		m.owner.mu.Lock()
		if len(m.queue) == 0 {
			m.working = false
			if m.disk == nil && !m.on {
				delete(m.owner.machines, m.key)
			}
			m.owner.mu.Unlock()
			return
		}
		act := m.queue[0]
		m.queue = m.queue[1:]
		m.owner.mu.Unlock()
		act()
	}
}

// stop pulls the plug. The owner's lock is held.
func (m *machine) stop(forget bool) {
	m.on, m.network = false, nil
	if m.pull != nil {
		m.pull()
	}
	m.enqueue(func() {
		m.halt()
		if forget {
			m.remove()
		}
	})
}

// boot starts the guest. It ends when the guest runs, or has failed to.
func (m *machine) boot(ctx context.Context, env azuresim.Env, am azuresim.Machine) {
	m.Machine = am
	log := m.owner.log.With("machine", am.Name)
	began := time.Now()
	err := m.bring(ctx, env)
	switch {
	case err == nil:
		log.Info("machine started", "address", am.PrivateIP, "took", time.Since(began).Round(time.Millisecond))
		return
	case ctx.Err() == nil:
		log.Error("machine cannot start", "error", err)
		fail(env, am.ID, err)
		m.owner.mu.Lock()
		m.off(ctx)
		m.owner.mu.Unlock()
		return
	}
	m.halt()
}

// off makes a machine that runs no more one that can be started again, and tells so. The owner's lock is held.
func (m *machine) off(ctx context.Context) {
	if ctx.Err() != nil {
		return // It was stopped, and perhaps started again.
	}
	m.on, m.network = false, nil
	m.pull()
	m.enqueue(m.halt)
	env, id := m.env, m.key
	m.owner.workers.Go(func() {
		env.After(0, func() { // As an event, between which and this look nobody starts it.
			m.owner.mu.Lock()
			now := m.owner.machines[id] // None when it has no disk.
			off := now == nil || !now.on
			m.owner.mu.Unlock()
			if off {
				env.PoweredOff(id)
			}
		})
	})
}

// fail says that a machine will never report. One that has reported stays provisioned.
func fail(env azuresim.Env, id string, err error) {
	env.Console(id, "hypervisor: "+err.Error())
	env.Provisioned(id, err)
}

func (m *machine) bring(ctx context.Context, env azuresim.Env) error {
	m.halt() // Of a guest that ended by itself.
	image, err := m.owner.artefact.image(m.Image)
	if err != nil {
		return err
	}
	if err := m.makeDisk(image); err != nil {
		return err
	}
	at, err := env.Attachment(m.ID)
	if err != nil {
		return err
	}
	if m.joint, err = m.owner.networks.join(ctx, at.VNetID, env); err != nil {
		return err
	}
	netns, err := m.joint.network.Attach(ctx, vnet.Port{Machine: m.Machine, At: at})
	if err != nil {
		return err
	}
	for _, d := range m.DataDisks {
		l, err := openLoop(filepath.Join(m.disk.dir, "lun"+strconv.Itoa(d.LUN)), int64(d.SizeGB)<<30)
		if err != nil {
			return fmt.Errorf("attach data disk at LUN %d: %w", d.LUN, err)
		}
		l.lun = d.LUN
		m.loops = append(m.loops, l)
	}
	if err := m.seed(); err != nil {
		return fmt.Errorf("write the guest's files: %w", err)
	}
	m.group = m.owner.prefix + "-" + m.disk.name
	if err := makeGroups(m.owner.groups, m.group); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	id := m.ID
	env.Console(id, fmt.Sprintf("hypervisor: started at uptime=%.2f", uptime()))
	m.guest, err = launch(m.launcher(image, netns), func(line string) { env.Console(id, line) })
	if err != nil {
		return err
	}
	m.owner.mu.Lock()
	if m.on && ctx.Err() == nil {
		m.network = m.joint.network
	}
	m.owner.mu.Unlock()
	m.owner.NetworkChanged() // Who changed the attachment after it was read above did not find this machine.
	g, am := m.guest, m.Machine
	m.owner.workers.Go(func() {
		<-g.done
		m.ended(ctx, env, am, g)
	})
	return nil
}

// ended is after a guest ended by itself: a reboot boots the same disk again, anything else is the end.
func (m *machine) ended(ctx context.Context, env azuresim.Env, am azuresim.Machine, g *guest) {
	m.owner.mu.Lock()
	if ctx.Err() != nil { // The plug was pulled.
		m.owner.mu.Unlock()
		return
	}
	if g.reboots() {
		m.network = nil
		m.owner.log.Info("guest reboots", "machine", am.Name)
		m.enqueue(func() { m.boot(ctx, env, am) })
		m.owner.mu.Unlock()
		return
	}
	m.off(ctx)
	m.owner.mu.Unlock()
	m.owner.log.Warn("guest ended by itself", "machine", am.Name, "error", g.err)
	fail(env, am.ID, fmt.Errorf("the guest ended by itself; its last words: %s", strings.Join(g.last, " | ")))
}

// makeDisk makes the OS disk and whatever else the guest writes to, if it has none.
func (m *machine) makeDisk(image image) error {
	if m.disk != nil {
		return nil
	}
	m.owner.mu.Lock()
	m.owner.disks++
	name := strconv.Itoa(m.owner.disks)
	m.owner.mu.Unlock()
	d := &disk{dir: filepath.Join(m.owner.dir, "m"+name), name: name}
	err := func() error {
		for _, dir := range []string{"", "upper", "work", "root", "kubelet", "pods", "containerd"} {
			path := filepath.Join(d.dir, dir)
			if err := os.Mkdir(path, 0o755); err != nil { //nolint:gosec // the mode of the guest's root
				return err
			}
			if err := os.Chmod(path, 0o755); err != nil { //nolint:gosec // whatever our umask
				return err
			}
		}
		if image.store == "" {
			return nil
		}
		return cloneStore(image.store, filepath.Join(d.dir, "containerd"))
	}()
	if err != nil {
		return fmt.Errorf("make the OS disk: %w", errors.Join(err, os.RemoveAll(d.dir)))
	}
	m.disk = d
	return nil
}

// halt ends the guest and takes away what it runs on, as far as it is there. The disk stays.
func (m *machine) halt() {
	var errs []error
	if m.guest != nil {
		m.guest.kill()
		m.guest = nil
	}
	if m.joint != nil {
		errs = append(errs, m.joint.network.Detach(m.ID), m.owner.networks.leave(m.joint))
		m.joint = nil
	}
	for _, l := range m.loops {
		errs = append(errs, l.close())
	}
	m.loops = nil
	if m.group != "" {
		errs = append(errs, removeGroups(m.owner.groups, m.group))
		m.group = ""
	}
	if err := errors.Join(errs...); err != nil {
		m.owner.log.Error("halt machine", "machine", m.Name, "error", err)
	}
}

// remove deletes the disks.
func (m *machine) remove() {
	if m.disk == nil {
		return
	}
	if err := os.RemoveAll(m.disk.dir); err != nil {
		m.owner.log.Error("remove disks", "machine", m.Name, "error", err)
	}
	m.disk = nil
}
