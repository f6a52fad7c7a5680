// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
	"github.com/lazuli-dev/lazuli/internal/bootstrap"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// PoolWish is a pool of the lab, as a change of a cluster wants it.
type PoolWish struct {
	Name         string
	Size         int
	ControlPlane bool
	InstanceType string // default Standard_D4s_v3
	DiskGB       int    // default 60
	Zones        []string
	Labels       map[string]string
	Taints       []lazuli.Taint
}

// SetPools gives a cluster other pools, as the API would.
func (l *Lab) SetPools(uid string, pools ...PoolWish) {
	l.t.Helper()
	wire := make([]any, 0, len(pools))
	for _, p := range pools {
		if p.InstanceType == "" {
			p.InstanceType = "Standard_D4s_v3"
		}
		if p.DiskGB == 0 {
			p.DiskGB = 60
		}
		taints := []map[string]string{}
		for _, t := range p.Taints {
			taints = append(taints, map[string]string{"key": t.Key, "value": t.Value, "effect": t.Effect})
		}
		wire = append(wire, map[string]any{
			"cloudConfig": map[string]any{"instanceType": p.InstanceType, "azs": p.Zones, "osDisk": map[string]any{
				"diskSizeGB": p.DiskGB, "osType": "Linux", "managedDisk": map[string]string{"storageAccountType": "Premium_LRS"},
			}},
			"poolConfig": map[string]any{
				"name": p.Name, "size": p.Size, "isControlPlane": p.ControlPlane, "additionalLabels": p.Labels, "taints": taints,
			},
		})
	}
	l.Change(uid, func(c *lazuli.Cluster) {
		spec := map[string]any{}
		check(l.t, json.Unmarshal(c.Spec, &spec))
		spec["machinepoolconfig"] = wire
		raw, err := json.Marshal(spec)
		check(l.t, err)
		c.Spec = raw
	})
}

// Change changes what is wanted of a cluster, and wakes the engine.
func (l *Lab) Change(uid string, change func(*lazuli.Cluster)) {
	l.t.Helper()
	ctx := l.t.Context()
	check(l.t, l.Store.Update(ctx, func(tx store.Tx) error {
		var c lazuli.Cluster
		if err := tx.Get(ctx, uid, &c); err != nil {
			return err
		}
		change(&c)
		if err := tx.Update(ctx, &c); err != nil {
			return err
		}
		return tx.Touch(ctx, store.WorkKey{Kind: lazuli.KindCluster, ID: uid}, time.Time{})
	}))
}

// When waits, in virtual time, for something to be so of a cluster.
func (l *Lab) When(uid, what string, within time.Duration, is func() bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), within)
	defer cancel()
	const pace = time.Second
	for !is() {
		time.Sleep(pace)
		if ctx.Err() != nil {
			l.t.Fatalf("not within %s: %s\n%s", within, what, l.Tasks(uid))
		}
	}
}

// Live counts the machines of each pool that are ready and shall stay.
func (l *Lab) Live(uid string) map[string]int {
	l.t.Helper()
	out := map[string]int{}
	for _, m := range l.Machines(uid) {
		if !m.Going() && m.Ready {
			out[m.Pool]++
		}
	}
	return out
}

// Quiet reports whether no machine of a cluster is on its way in or out.
func (l *Lab) Quiet(uid string) bool {
	l.t.Helper()
	for _, m := range l.Machines(uid) {
		if m.Going() && m.State != lazuli.MachineDeleted || !m.Going() && !m.Ready {
			return false
		}
	}
	return true
}

// Kube calls the API of a cluster as its administrator, and decodes the answer
// into into, unless that is nil. It returns the status.
func (l *Lab) Kube(uid, method, path string, body, into any) int {
	l.t.Helper()
	var text []byte
	if body != nil {
		var err error
		text, err = json.Marshal(body)
		check(l.t, err)
	}
	for _, m := range l.Machines(uid) {
		h, serves := l.Guests.Handler(strings.ToLower(m.VMID))
		if !m.ControlPlane || !m.Ready || !serves {
			continue
		}
		ctx := kubeapi.WithUser(l.t.Context(), kubeapi.User{Name: bootstrap.AdminUser, Groups: []string{bootstrap.AdminGroup}})
		req := httptest.NewRequestWithContext(ctx, method, "https://cluster"+path, bytes.NewReader(text))
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if into != nil && rec.Code < http.StatusBadRequest {
			check(l.t, json.Unmarshal(rec.Body.Bytes(), into))
		}
		return rec.Code
	}
	l.t.Fatal("the cluster has no control plane that serves")
	return 0
}
