// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// ofPool is where the findings of the checks point that a pool has in common
// with those of a create; answers about one pool leave it out.
const ofPool = "spec.machinepoolconfig[0]"

// poolBody is a pool as sent, and what it says.
type poolBody struct {
	raw json.RawMessage
	in  palette.AzureMachinePoolConfigEntity
}

func readPool(raw json.RawMessage) (poolBody, error) {
	p := poolBody{raw: raw}
	return p, decode(raw, &p.in)
}

func (p *poolBody) name() string { return p.in.PoolConfig.Name }
func (p *poolBody) size() int32  { return *p.in.PoolConfig.Size } // after a check

// poolUID is the uid of a pool, which the wire wants and nothing else does.
func poolUID(cluster, pool string) string {
	sum := sha256.Sum256([]byte(cluster + "/" + pool))
	return hex.EncodeToString(sum[:])[:lazuli.UIDLength]
}

// local turns findings about the pool of a spec into such about a pool alone.
func (f *findings) local() {
	for _, list := range []lazuli.Fields{f.faults, f.warnings} {
		for i := range list {
			if rest, ok := strings.CutPrefix(list[i].Path, ofPool); ok {
				list[i].Path = orElse(strings.TrimPrefix(rest, "."), wholeBody)
			}
		}
	}
}

// checkedPool reads and checks the body of a request about one pool.
func checkedPool(c *call) (poolBody, error) {
	p, err := readPool(c.body)
	if err != nil {
		return p, err
	}
	var f findings
	checkPool(&f, ofPool, &p.in)
	f.local()
	return p, f.faults.Err()
}

// poolsOf reads the pools of a cluster.
func poolsOf(cl *lazuli.Cluster) ([]poolBody, error) {
	raws, err := palette.Pools(cl.Spec)
	if err != nil {
		return nil, fmt.Errorf("read the pools of cluster %s: %w", cl.UID, err)
	}
	out := make([]poolBody, len(raws))
	for i, raw := range raws {
		out[i].raw = raw
		if err := json.Unmarshal(raw, &out[i].in); err != nil || out[i].in.PoolConfig == nil || out[i].in.CloudConfig == nil {
			return nil, lazuli.Errorf(lazuli.CodeInternal, "pool %d of cluster %s cannot be read", i, cl.UID)
		}
	}
	return out, nil
}

func indexOf(pools []poolBody, name string) int {
	return slices.IndexFunc(pools, func(p poolBody) bool { return p.name() == name })
}

// storePools gives a cluster these pools. idle is the error of pools of which
// none runs workloads.
func (ch *change) storePools(pools []poolBody, idle error) error {
	if len(pools) > maxPools {
		var f lazuli.Fields
		f.Add("poolConfig", "is one pool too many; a cluster has at most %d", maxPools)
		return f.Err()
	}
	works := slices.ContainsFunc(pools, func(p poolBody) bool {
		return !p.in.PoolConfig.IsControlPlane || p.in.PoolConfig.UseControlPlaneAsWorker
	})
	if !works {
		return idle
	}
	raws := make([]json.RawMessage, len(pools))
	for i := range pools {
		raws[i] = pools[i].raw
	}
	spec, err := palette.SetPools(ch.cl.Spec, raws)
	if err != nil {
		return fmt.Errorf("change the pools of cluster %s: %w", ch.cl.UID, err)
	}
	ch.cl.Spec = spec
	return nil
}

// createPool adds a pool. The same pool again, by a client that did not hear the
// first answer, is the same pool.
func createPool(a *API, c *call) (any, error) {
	p, err := checkedPool(c)
	if err != nil {
		return nil, err
	}
	if p.in.PoolConfig.IsControlPlane {
		var f lazuli.Fields
		f.Add("poolConfig.isControlPlane", "is true, and a cluster has one control-plane pool, from its creation on")
		return nil, f.Err()
	}
	cl, err := a.configured(c)
	if err != nil {
		return nil, err
	}
	if err := c.mayChange(cl.Project); err != nil {
		return nil, err
	}
	out := palette.UID{UID: poolUID(cl.UID, p.name())}
	if err := a.placePool(c, cl, &p, p.size(), indexAmong(cl, p.name()) < 0); err != nil {
		return nil, err
	}
	return out, a.changeCluster(c, cl.UID, func(ch *change) error {
		pools, err := poolsOf(ch.cl)
		if err != nil {
			return err
		}
		if i := indexOf(pools, p.name()); i >= 0 {
			if palette.Equal(pools[i].raw, p.raw) {
				ch.idle = true
				return nil
			}
			return lazuli.Errorf(lazuli.CodeDuplicateName, "the cluster has a pool %q already, and it is another", p.name())
		}
		ch.say("PoolRequested", "%s asked for the pool %s of %d machines.", c.actor.Name, p.name(), p.size())
		return ch.storePools(append(pools, p), nil)
	})
}

func indexAmong(cl *lazuli.Cluster, name string) int {
	pools, err := poolsOf(cl)
	if err != nil {
		return -1 // the change will say so
	}
	return indexOf(pools, name)
}

// placePool asks Azure whether it has room and sizes for more machines of a
// pool. That Azure cannot be asked is no refusal: the engine finds out.
func (a *API) placePool(c *call, cl *lazuli.Cluster, p *poolBody, more int32, ask bool) error {
	if !ask || alive(cl) != nil {
		return nil //nolint:nilerr // the change will say so
	}
	var acc lazuli.Account
	if err := a.Store.Get(c.ctx(), cl.AccountUID, &acc); err != nil {
		return fmt.Errorf("read the account of cluster %s: %w", cl.UID, err)
	}
	spec, err := palette.Spec(cl)
	if err != nil {
		return err
	}
	if spec.CloudConfig == nil {
		return lazuli.Errorf(lazuli.CodeInternal, "the spec of cluster %s has no cloudConfig", cl.UID)
	}
	one, config := p.in, *p.in.PoolConfig
	config.Size = &more
	one.PoolConfig = &config
	spec.MachinePoolConfig = []palette.AzureMachinePoolConfigEntity{one}
	var f findings
	_, err = a.placeWith(c.ctx(), &f, &spec, &acc, 0)
	f.local()
	return errors.Join(f.faults.Err(), err)
}

// updatePool replaces the wish for a pool.
func updatePool(a *API, c *call) (any, error) {
	p, err := checkedPool(c)
	if err != nil {
		return nil, err
	}
	name := c.param("name")
	if p.name() != name {
		var f lazuli.Fields
		f.Add("poolConfig.name", "is %q, and the pool %q cannot get another name: add a pool and remove this one", shorten(p.name()), shorten(name))
		return nil, f.Err()
	}
	cl, err := a.configured(c)
	if err != nil {
		return nil, err
	}
	if err := c.mayChange(cl.Project); err != nil {
		return nil, err
	}
	if err := a.placeChange(c, cl, &p); err != nil {
		return nil, err
	}
	return nil, a.changeCluster(c, cl.UID, func(ch *change) error {
		pools, i, err := ch.poolNamed(name)
		if err != nil {
			return err
		}
		old := pools[i]
		if err := checkPoolChange(&old, &p); err != nil {
			return err
		}
		if string(old.raw) == string(p.raw) {
			ch.idle = true
			return nil
		}
		pools[i] = p
		ch.say("PoolChanged", "%s changed the pool %s: %d machines instead of %d.", c.actor.Name, name, p.size(), old.size())
		if p.size() == old.size() {
			ch.say("PoolChanged", "%s changed the pool %s.", c.actor.Name, name)
		}
		var f lazuli.Fields
		f.Add("poolConfig.useControlPlaneAsWorker", "is false, and no pool is left that runs workloads")
		return ch.storePools(pools, f.Err())
	})
}

// placeChange asks Azure about what a change adds: machines, or another size.
func (a *API) placeChange(c *call, cl *lazuli.Cluster, p *poolBody) error {
	pools, err := poolsOf(cl)
	if err != nil {
		return err
	}
	i := indexOf(pools, p.name())
	if i < 0 {
		return nil // the change will say so
	}
	old := pools[i]
	if checkPoolChange(&old, p) != nil {
		return nil //nolint:nilerr // the change will say so
	}
	more := max(0, p.size()-old.size())
	return a.placePool(c, cl, p, more, more > 0 || !palette.Equal(rawOf(old.in.CloudConfig), rawOf(p.in.CloudConfig)))
}

func rawOf(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // plain values: cannot happen
		return nil
	}
	return b
}

// poolNamed finds a pool of the cluster that is changed.
func (ch *change) poolNamed(name string) ([]poolBody, int, error) {
	pools, err := poolsOf(ch.cl)
	if err != nil {
		return nil, 0, err
	}
	i := indexOf(pools, name)
	if i < 0 {
		return nil, 0, lazuli.Errorf(lazuli.CodeNotFound, "the cluster has no pool %q", shorten(name))
	}
	return pools, i, nil
}

// checkPoolChange refuses what no pool can become.
func checkPoolChange(old, p *poolBody) error {
	var f lazuli.Fields
	control := old.in.PoolConfig.IsControlPlane
	if p.in.PoolConfig.IsControlPlane != control {
		f.Add("poolConfig.isControlPlane", "is %t for this pool and stays so", control)
		return f.Err()
	}
	if control && p.size() < old.size() {
		f.Add("poolConfig.size", "is %d; a control plane of %d machines cannot become smaller", p.size(), old.size())
	}
	return f.Err()
}

// deletePool takes a worker pool out of the wish. Its machines are drained and
// removed.
func deletePool(a *API, c *call) (any, error) {
	cl, err := a.configured(c)
	if err != nil {
		return nil, err
	}
	name := c.param("name")
	return nil, a.changeCluster(c, cl.UID, func(ch *change) error {
		pools, i, err := ch.poolNamed(name)
		if err != nil {
			return err
		}
		if pools[i].in.PoolConfig.IsControlPlane {
			return lazuli.Errorf(lazuli.CodeConflict, "pool %q is the control plane, which goes with the cluster only", name)
		}
		ch.say("PoolRemoved", "%s removed the pool %s.", c.actor.Name, name)
		return ch.storePools(slices.Delete(pools, i, i+1),
			lazuli.Errorf(lazuli.CodeConflict, "pool %q is the last one that runs workloads", name))
	})
}

// mutableCloud are the members of a cluster's cloudConfig that may change. Each
// has no effect on what is there already.
var mutableCloud = []string{
	"apiServerAccessProfile", "containerName", "overrideClusterAPIConfig", "sshKey", "storageAccountName",
}

// updateCloudConfig replaces the Azure side of a cluster, as far as it can
// change.
func updateCloudConfig(a *API, c *call) (any, error) {
	var body struct {
		ClusterConfig json.RawMessage `json:"clusterConfig"`
	}
	if err := decode(c.body, &body); err != nil {
		return nil, err
	}
	var in palette.AzureClusterConfig
	var f findings
	if !given(body.ClusterConfig) {
		f.fault("clusterConfig", "is required")
		return nil, f.faults.Err()
	}
	if err := json.Unmarshal(body.ClusterConfig, &in); err != nil {
		return nil, orElse(decode(c.body, &palette.CloudClusterConfigBody{}), err) // the first names the member
	}
	cl, err := a.configured(c)
	if err != nil {
		return nil, err
	}
	return nil, a.changeCluster(c, cl.UID, func(ch *change) error {
		var f findings
		old, err := palette.Member(ch.cl.Spec, palette.MemberCloudConfig)
		if err != nil {
			return fmt.Errorf("read the spec of cluster %s: %w", ch.cl.UID, err)
		}
		for _, name := range membersOf(old, body.ClusterConfig) {
			was, errWas := palette.Member(old, name)
			now, errNow := palette.Member(body.ClusterConfig, name)
			if err := errors.Join(errWas, errNow); err != nil {
				return fmt.Errorf("compare %s: %w", name, err)
			}
			if !slices.Contains(mutableCloud, name) && !palette.Equal(was, now) {
				f.fault("clusterConfig."+shorten(name), "cannot change after the cluster's creation; make another cluster")
			}
		}
		if err := checkSSHKey(in.SSHKey); err != nil {
			f.fault("clusterConfig.sshKey", "%v", err)
		}
		checkRanges(&f, "clusterConfig.", in.APIServerAccessProfile)
		if err := f.faults.Err(); err != nil {
			return err
		}
		if string(old) == string(body.ClusterConfig) {
			ch.idle = true
			return nil
		}
		ch.say("CloudConfigChanged", "%s changed the Azure configuration of the cluster.", c.actor.Name)
		ch.cl.Spec, err = palette.SetMember(ch.cl.Spec, body.ClusterConfig, palette.MemberCloudConfig)
		return err
	})
}

// membersOf are the names of the members of objects.
func membersOf(objects ...json.RawMessage) []string {
	all := map[string]bool{}
	for _, raw := range objects {
		var o map[string]json.RawMessage
		if json.Unmarshal(raw, &o) != nil {
			continue // checked before
		}
		for name := range o {
			all[name] = true
		}
	}
	return sortedKeys(all)
}

// maintenanceActions are what a machine's maintenance can be.
var maintenanceActions = []lazuli.MaintenanceAction{lazuli.MaintenanceCordon, lazuli.MaintenanceUncordon}

// updateMaintenance records that a machine shall be emptied, or work again.
func updateMaintenance(a *API, c *call) (any, error) {
	var in struct {
		Action lazuli.MaintenanceAction `json:"action"`
	}
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	if t := c.param("cloudType"); t != palette.CloudType {
		return nil, lazuli.Errorf(lazuli.CodeNotFound, "there are no cloud configs of the type %q", shorten(t))
	}
	if !slices.Contains(maintenanceActions, in.Action) {
		var f lazuli.Fields
		f.Add("action", "%q is neither cordon nor uncordon", shorten(string(in.Action)))
		return nil, f.Err()
	}
	cl, err := a.configured(c)
	if err != nil {
		return nil, err
	}
	_, machines, err := a.pool(c)
	if err != nil {
		return nil, err
	}
	uid := c.param("machineUid")
	i := slices.IndexFunc(machines, func(m lazuli.Machine) bool { return m.UID == uid })
	if i < 0 {
		return nil, notFound(lazuli.KindMachine, uid)
	}
	if machines[i].Going() {
		return nil, lazuli.Errorf(lazuli.CodeConflict, "machine %s is being removed", machines[i].Name)
	}
	return nil, a.changeCluster(c, cl.UID, func(ch *change) error {
		if ch.cl.Maintenance[uid].Action == in.Action && settledMaintenance(&machines[i], ch.cl.Maintenance[uid]) != lazuli.MaintenanceFailed {
			ch.idle = true
			return nil
		}
		if ch.cl.Maintenance == nil {
			ch.cl.Maintenance = map[string]lazuli.MaintenanceWish{}
		}
		ch.cl.Maintenance[uid] = lazuli.MaintenanceWish{Action: in.Action, At: a.Now().UTC(), Actor: c.actor.Name}
		ch.say("MaintenanceRequested", "%s asked for %s of %s.", c.actor.Name, in.Action, machines[i].Name)
		return ch.forgetMaintenance()
	})
}

// settledMaintenance is the state of the wish that is on record.
func settledMaintenance(m *lazuli.Machine, w lazuli.MaintenanceWish) lazuli.MaintenanceState {
	if m.Maintenance == nil || !m.Maintenance.Is(w) {
		return lazuli.MaintenanceInitiated
	}
	return m.Maintenance.State
}

// forgetMaintenance drops the wishes about machines that are no more.
func (ch *change) forgetMaintenance() error {
	machines, err := machinesOf(ch.ctx(), ch.tx, ch.cl.UID)
	if err != nil {
		return err
	}
	for _, uid := range sortedKeys(ch.cl.Maintenance) {
		if !slices.ContainsFunc(machines, func(m lazuli.Machine) bool { return m.UID == uid }) {
			delete(ch.cl.Maintenance, uid)
		}
	}
	return nil
}
