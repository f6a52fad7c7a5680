// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Power states of a machine.
const (
	powerCreating     = "creating" // not shown: before the first start
	powerStarting     = "starting"
	powerRunning      = "running"
	powerStopped      = "stopped"
	powerDeallocating = "deallocating"
	powerDeallocated  = "deallocated"
)

// provisioningTimeout is how long Compute waits for the guest agent's report.
const provisioningTimeout = 20 * time.Minute

// consoleLines bounds what a serial console remembers.
const consoleLines = 5000

// guest is a machine that Compute allocated.
type guest struct {
	machine   Machine
	family    string
	power     string
	allocated bool
	reported  bool
	op        *operation // the create, until the report
	console   []string
	signature string // of the console's URL
	started   time.Time
}

// Forgetter is implemented by Machines that keep a machine's disk over a Stop: Forget says that the machine was deleted
// and its id may come back as another one.
type Forgetter interface{ Forget(id string) }

// vmBegan runs a create or an update of a machine.
func vmBegan(c *call, r *resource, op *operation, created bool) bool {
	s := c.sim
	// A PUT on a machine that was never placed tries again.
	if g := s.vms[r.key()]; !created && g != nil && g.power != powerCreating {
		s.after(s.draw("compute.virtualmachines.update", r.key()), func() {
			if g := s.vms[r.key()]; g != nil && s.store.byKey[r.key()] == r {
				s.makeDisks(r)
				g.machine.Tags = tagsOf(r.body)
			}
			s.finish(op, nil)
		})
		return true
	}
	if op.forced != nil { // A fault: the machine is refused where hardware is looked for.
		s.finishAfter(op, s.draw("compute.virtualmachines.refuse", r.key()), op.forced)
	}
	size, _ := s.catalog.size(str(r.body, "properties", "hardwareProfile", "vmSize"), r.location)
	g := &guest{machine: s.describe(r, size), family: size.Family, power: powerCreating, op: op, signature: s.guid()}
	s.vms[r.key()] = g
	s.after(s.draw(vmAllocate, r.key()), func() {
		if op.status != opRunning || op.forced != nil {
			return
		}
		if !s.allocate(g) {
			s.finishAfter(op, s.draw("compute.virtualmachines.refuse", r.key()), noCapacity(g))
			return
		}
		s.makeDisks(r)
		s.boot(g)
		s.after(provisioningTimeout, func() { s.provisioned(r.key(), g, errProvisioningTimeout) })
	})
	return true
}

var errProvisioningTimeout = errors.New("OS provisioning timed out")

// describe is what the guest will see of itself.
func (s *Simulator) describe(r *resource, size vmSize) Machine {
	profile := child(r.body, "properties", "osProfile")
	data, _ := customData(r.body) // It was checked when it came.
	m := Machine{
		ID: r.id, VMID: resourceGUID(r), Name: r.target.name(), ComputerName: str(profile, "computerName"), SubscriptionID: r.target.subscription,
		ResourceGroup: r.target.group, Location: r.location, Zone: firstOf(texts(r.body, "zones")), Size: size.Name, VCPUs: size.vcpus(),
		MemoryGB: size.memory(), CustomData: data, AdminUser: str(profile, "adminUsername"), Image: imageName(r.body), Tags: tagsOf(r.body),
	}
	for _, k := range items(profile, "linuxConfiguration", "ssh", "publicKeys") {
		m.SSHKeys = append(m.SSHKeys, str(k, "keyData"))
	}
	for _, d := range items(r.body, "properties", "storageProfile", "dataDisks") {
		lun, _ := number(d, "lun")
		gb, _ := number(d, "diskSizeGB")
		m.DataDisks = append(m.DataDisks, DataDisk{LUN: lun, SizeGB: gb})
	}
	if nic := s.primaryNIC(r); nic != nil {
		m.PrivateIP = str(primaryConfig(nic), "properties", "privateIPAddress")
	}
	return m
}

func (s *Simulator) primaryNIC(vm *resource) *resource {
	nics := items(vm.body, "properties", "networkProfile", "networkInterfaces")
	for _, n := range nics {
		if flag(n, "properties", "primary") {
			return s.store.get(str(n, "id"))
		}
	}
	if len(nics) == 0 {
		return nil
	}
	return s.store.get(str(nics[0], "id"))
}

func primaryConfig(nic *resource) object {
	cfgs := items(nic.body, "properties", "ipConfigurations")
	for _, cfg := range cfgs {
		if flag(cfg, "properties", "primary") {
			return cfg
		}
	}
	return cfgs[0]
}

func capacityKey(g *guest) string {
	return strings.ToLower(g.machine.Location + "|" + g.machine.Zone + "|" + g.family)
}

// allocate takes hardware. Quota was a promise, this is the reality: it is checked when the machine is placed.
func (s *Simulator) allocate(g *guest) bool {
	key := capacityKey(g)
	limit, bounded := s.world.capacities[key]
	if bounded && s.world.allocated[key]+g.machine.VCPUs > limit {
		return false
	}
	s.world.allocated[key] += g.machine.VCPUs
	g.allocated = true
	return true
}

func (s *Simulator) release(g *guest) {
	if g.allocated {
		s.world.allocated[capacityKey(g)] -= g.machine.VCPUs
		g.allocated = false
	}
}

func noCapacity(g *guest) *apiError {
	if g.machine.Zone != "" {
		return conflict("ZonalAllocationFailed", "Allocation failed. We do not have sufficient capacity for the requested VM size in this zone. Read more about "+
			"improving likelihood of allocation success at http://aka.ms/allocation-guidance")
	}
	return conflict("AllocationFailed", "Allocation failed. We do not have sufficient capacity for the requested VM size in this region. Read more about "+
		"improving likelihood of allocation success at http://aka.ms/allocation-guidance")
}

func (s *Simulator) boot(g *guest) {
	g.power, g.started = powerRunning, s.now()
	m := g.machine
	m.Tags = maps.Clone(m.Tags)
	s.outside(func() { s.cfg.Machines.Start(s, m) })
}

// makeDisks makes the disks that a machine's body describes and that are not there yet, and marks them as its own.
func (s *Simulator) makeDisks(r *resource) {
	zones, hasZones := r.body["zones"]
	for i, d := range vmDisks(r.body) {
		id := str(d, "managedDisk", "id")
		if id == "" {
			id = r.target.groupID() + "/providers/" + typeDisk + "/" + str(d, "name")
		}
		disk := s.store.get(id)
		if disk == nil {
			sku := str(d, "managedDisk", "storageAccountType")
			if sku == "" {
				sku = "Premium_LRS"
			}
			gb, set := number(d, "diskSizeGB")
			if !set {
				gb = 30 // The size of Ubuntu's marketplace images.
			}
			body := object{
				"location": r.location, "sku": object{"name": sku},
				"properties": object{"diskSizeGB": gb, "creationData": object{"createOption": str(d, "createOption")}},
			}
			if i == 0 {
				ensure(body, "properties")["osType"] = "Linux"
			}
			if tags := child(r.body, "tags"); tags != nil { // Implicit disks take the machine's tags.
				body["tags"] = cloneObject(tags)
			}
			if hasZones {
				body["zones"] = clone(zones)
			}
			disk = &resource{
				id: id, target: parsePath(id), kind: s.kinds[keyOf(typeDisk)], location: r.location, body: body, state: stateSucceeded,
				created: s.now(), changed: s.now(),
			}
			s.save(disk)
		}
		disk.managedBy = r.id
		ensure(d, "managedDisk")["id"] = disk.id
		ensure(d, "managedDisk")["storageAccountType"] = str(disk.body, "sku", "name")
		if gb, set := number(disk.body, "properties", "diskSizeGB"); set {
			d["diskSizeGB"] = gb
		}
	}
	s.save(r)
}

// Provisioned is Env.
func (s *Simulator) Provisioned(id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.vms[keyOf(id)]; g != nil {
		s.provisioned(keyOf(id), g, err)
	}
}

func (s *Simulator) provisioned(key string, g *guest, err error) {
	if g.reported || s.vms[key] != g {
		return
	}
	g.reported = true
	switch {
	case err == nil:
		s.finish(g.op, nil)
	case errors.Is(err, errProvisioningTimeout):
		s.finish(g.op, conflict("OSProvisioningTimedOut", "OS Provisioning for VM '%s' did not finish in the allotted time. The VM may still finish "+
			"provisioning successfully. Please check provisioning state later. For details on how to check current provisioning state of Linux VMs, "+
			"refer to https://aka.ms/LinuxVMLifecycle.", g.machine.Name))
	default:
		s.finish(g.op, conflict("OSProvisioningClientError", "OS provisioning for VM '%s' failed. Error details: %s", g.machine.Name, err))
	}
}

// Tags is Env.
func (s *Simulator) Tags(id string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.vms[keyOf(id)]; g != nil {
		return maps.Clone(g.machine.Tags)
	}
	return nil
}

// PoweredOff is Env.
func (s *Simulator) PoweredOff(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.vms[keyOf(id)]; g != nil && g.power == powerRunning {
		g.power = powerStopped
	}
}

// Console is Env.
func (s *Simulator) Console(id, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.vms[keyOf(id)]; g != nil {
		g.console = append(g.console, line)
		if extra := len(g.console) - consoleLines; extra > 0 {
			g.console = g.console[extra:]
		}
	}
}

// SerialConsole is the text on a machine's serial console.
func (s *Simulator) SerialConsole(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.vms[keyOf(id)]
	if g == nil || len(g.console) == 0 {
		return ""
	}
	return strings.Join(g.console, "\n") + "\n"
}

func bootDiagnostics(c *call, r *resource) (*reply, *apiError) {
	if !flag(r.body, "properties", "diagnosticsProfile", "bootDiagnostics", "enabled") {
		return nil, conflict("OperationNotAllowed", "Boot diagnostics is not enabled for VM '%s'.", r.target.name())
	}
	q := url.Values{"id": {r.id}, "sig": {c.sim.vms[r.key()].signature}}
	return ok(object{
		"consoleScreenshotBlobUri": c.base + "/_sim/screenshot?" + q.Encode(), "serialConsoleLogBlobUri": c.base + "/_sim/serial?" + q.Encode(),
	}), nil
}

func (s *Simulator) instanceView(r *resource) object {
	statuses := []any{object{
		"code": "ProvisioningState/" + strings.ToLower(r.state), "level": "Info", "displayStatus": "Provisioning " + strings.ToLower(r.state),
		"time": r.changed.Format(time.RFC3339Nano),
	}}
	out := object{"hyperVGeneration": "V2", "disks": []any{}}
	g := s.vms[r.key()]
	if g == nil {
		out["statuses"] = statuses
		return out
	}
	if r.state == stateFailed && g.op != nil && g.op.err != nil {
		statuses = []any{object{
			"code": "ProvisioningState/failed/" + g.op.err.code, "level": "Error", "displayStatus": "Provisioning failed", "message": g.op.err.message,
			"time": r.changed.Format(time.RFC3339Nano),
		}}
	}
	if g.power != powerCreating {
		statuses = append(statuses, object{"code": "PowerState/" + g.power, "level": "Info", "displayStatus": "VM " + g.power})
	}
	if g.power == powerRunning {
		agent := object{"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Ready", "time": s.now().Format(time.RFC3339Nano)}
		if !g.reported {
			agent = object{"code": "ProvisioningState/Unavailable", "level": "Warning", "displayStatus": "Not Ready", "message": "VM status blob is found but not yet populated."}
		}
		out["vmAgent"] = object{"vmAgentVersion": "2.12.0.2", "statuses": []any{agent}}
		out["computerName"] = g.machine.ComputerName
	}
	out["statuses"] = statuses
	return out
}

// powerAction is start, deallocate, powerOff or restart: an asynchronous POST.
func powerAction(name string) func(*call, *resource) (*reply, *apiError) {
	return func(c *call, r *resource) (*reply, *apiError) {
		if err := c.busy(r); err != nil {
			return nil, err
		}
		if err := c.checkLocks(r.id, false); err != nil {
			return nil, err
		}
		s, g := c.sim, c.sim.vms[r.key()]
		op := c.start(r.id, strings.ToUpper(name[:1])+name[1:]+"VM", vmFirstPoll)
		before, was := r.state, g.power
		r.op, r.state = op, stateUpdating
		op.done = func(*apiError) {
			if s.store.byKey[r.key()] == r && r.op == op {
				r.op, r.state = nil, before
			}
		}
		switch name {
		case "deallocate":
			g.power = powerDeallocating
		case "start":
			if was != powerRunning {
				g.power = powerStarting
			}
		}
		s.after(s.draw("compute.virtualmachines.power", r.key()), func() {
			if op.status != opRunning || s.vms[r.key()] != g {
				return
			}
			s.finish(op, s.switchPower(g, name, was))
		})
		return c.announce(status(http.StatusAccepted), op, true, true), nil
	}
}

func (s *Simulator) switchPower(g *guest, action, was string) *apiError {
	id := g.machine.ID
	stop := func() { s.cfg.Machines.Stop(id) }
	switch {
	case action == "start" && g.power == powerRunning:
		return nil
	case action == "powerOff" && was == powerDeallocated:
		return nil
	}
	switch action {
	case "deallocate":
		s.outside(stop)
		s.release(g)
		g.power = powerDeallocated
	case "powerOff":
		s.outside(stop)
		g.power = powerStopped
	case "restart":
		s.outside(stop)
		s.boot(g)
	case "start":
		if !g.allocated && !s.allocate(g) {
			g.power = powerDeallocated
			return noCapacity(g)
		}
		s.boot(g)
	}
	return nil
}

// stopGuest pulls the plug of a machine that goes.
func (s *Simulator) stopGuest(r *resource) {
	if g := s.vms[r.key()]; g != nil {
		g.power = powerStopped
		id := g.machine.ID
		s.outside(func() { s.cfg.Machines.Stop(id) })
	}
}

func deleteVM(c *call, r *resource, op *operation) bool {
	s := c.sim
	dist := "compute.virtualmachines.delete"
	const plug, forced = 5 * time.Second, time.Second
	pull := plug
	if force, err := strconv.ParseBool(c.query.Get("forceDeletion")); err == nil && force {
		dist, pull = "compute.virtualmachines.force", forced
	}
	s.after(pull, func() {
		if s.store.byKey[r.key()] == r {
			s.stopGuest(r)
		}
	})
	s.finishAfter(op, max(s.draw(dist, r.key()), pull), nil)
	return true
}

// removedVM follows the deleteOption of everything that the machine used (learn.microsoft.com, delete a VM).
func removedVM(s *Simulator, r *resource) {
	if g := s.vms[r.key()]; g != nil {
		s.release(g)
		delete(s.vms, r.key())
		delete(s.front.health, r.key())
		id := g.machine.ID
		s.outside(func() {
			s.cfg.Machines.Stop(id)
			if f, keeps := s.cfg.Machines.(Forgetter); keeps {
				f.Forget(id)
			}
		})
	}
	for _, n := range items(r.body, "properties", "networkProfile", "networkInterfaces") {
		nic := s.store.get(str(n, "id"))
		if nic == nil {
			continue
		}
		if strings.EqualFold(str(n, "properties", "deleteOption"), "Delete") {
			s.drop(nic)
			continue
		}
		nic.reservedFor, nic.reservedUntil = r.id, s.now().Add(nicReservation)
	}
	for _, d := range vmDisks(r.body) {
		disk := s.store.get(str(d, "managedDisk", "id"))
		if disk == nil {
			continue
		}
		disk.managedBy = ""
		if strings.EqualFold(str(d, "deleteOption"), "Delete") {
			s.drop(disk)
		}
	}
}

// bareMachines report ready after the measured time and do nothing else.
type bareMachines struct{}

func (*bareMachines) Start(env Env, m Machine) {
	env.After(ProvisioningTime(env, m), func() { env.Provisioned(m.ID, nil) })
}

func (*bareMachines) Stop(string) {}

func (*bareMachines) Dial(_ context.Context, id string, port int) (net.Conn, error) {
	return nil, fmt.Errorf("dial port %d of %s: %w: nothing runs on this machine", port, id, ErrUnreachable)
}

func (*bareMachines) Probe(string, int, string) bool { return false }
