// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// cloudConfigUID maps the uid of a cluster to that of its cloud config, and
// back: the store needs no second way to find a cluster, and a uid of the one
// kind is never a uid of the other's same object.
func cloudConfigUID(uid string) string {
	const flipped = 4 // the first byte behind the time
	b, err := hex.DecodeString(uid)
	if err != nil || len(b) <= flipped {
		return ""
	}
	b[flipped] ^= 0x80
	return hex.EncodeToString(b)
}

func getCluster(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return rendered(palette.ClusterOf(cl))
}

// rendered passes an answer on and names the error.
func rendered[T any](out T, err error) (any, error) {
	if err != nil {
		return nil, fmt.Errorf("render the answer: %w", err)
	}
	return out, nil
}

// deleteCluster records that the cluster shall be no more. It may be repeated;
// forceDelete may come with a later request.
func deleteCluster(a *API, c *call) (any, error) {
	force := false
	if s := c.query("forceDelete"); s != "" {
		var err error
		if force, err = strconv.ParseBool(s); err != nil {
			var f lazuli.Fields
			f.Add("forceDelete", "%q is neither true nor false", shorten(s))
			return nil, f.Err()
		}
	}
	return nil, a.Store.Update(c.ctx(), func(tx store.Tx) error {
		cl, err := getToChange[lazuli.Cluster](c.ctx(), tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		audit := tx.AppendAudit(c.ctx(), c.audit(lazuli.KindCluster, cl.UID, cl.Project))
		already := cl.Delete != nil && (cl.Delete.Force || !force)
		if cl.Status.State == lazuli.StateDeleted || already {
			return audit
		}
		if cl.Delete == nil {
			cl.Delete = &lazuli.DeleteIntent{At: a.Now().UTC(), Actor: c.actor.Name}
		}
		cl.Delete.Force = cl.Delete.Force || force
		cl.Status.State = lazuli.StateDeleting
		if err := tx.Update(c.ctx(), cl); err != nil {
			return fmt.Errorf("delete cluster %s: %w", cl.UID, err)
		}
		if err := tx.Touch(c.ctx(), store.WorkKey{Kind: lazuli.KindCluster, ID: cl.UID}, time.Time{}); err != nil {
			return fmt.Errorf("wake the engine for cluster %s: %w", cl.UID, err)
		}
		reason, text := "ClusterDeleteRequested", "Deletion was requested by "+c.actor.Name+"."
		if force {
			reason, text = "ClusterForceDeleteRequested", "Forced deletion was requested by "+c.actor.Name+"."
		}
		return errors.Join(audit, a.event(c, tx, cl, lazuli.SeverityInfo, reason, text))
	})
}

func getOverview(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	machines, err := a.machines(c, cl.UID)
	if err != nil {
		return nil, err
	}
	account, err := a.accountOf(c, cl)
	if err != nil {
		return nil, err
	}
	return rendered(palette.Overview(cl, account, machines))
}

// accountOf reads the account of a cluster; one that is gone, after the cluster
// was deleted, has no name.
func (a *API) accountOf(c *call, cl *lazuli.Cluster) (*lazuli.Account, error) {
	var acc lazuli.Account
	err := a.Store.Get(c.ctx(), cl.AccountUID, &acc)
	if err != nil && lazuli.CodeOf(err) != lazuli.CodeNotFound {
		return nil, fmt.Errorf("read the account of cluster %s: %w", cl.UID, err)
	}
	return &acc, nil
}

// machines lists the machines of a cluster that are not gone, by name.
func (a *API) machines(c *call, clusterUID string) ([]lazuli.Machine, error) {
	return machinesOf(c.ctx(), a.Store, clusterUID)
}

func machinesOf(ctx context.Context, r store.Reader, clusterUID string) ([]lazuli.Machine, error) {
	out, _, err := query[lazuli.Machine](ctx, r, store.Query{Sort: store.FieldName, Where: []store.Where{
		{Field: store.FieldOwner, Op: store.Eq, Value: clusterUID},
		{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.MachineDeleted)},
	}})
	return out, err
}

// configured finds the cluster of a cloud config.
func (a *API) configured(c *call) (*lazuli.Cluster, error) {
	uid := c.param("uid")
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, cloudConfigUID(uid))
	if err != nil {
		if lazuli.CodeOf(err) == lazuli.CodeNotFound {
			return nil, lazuli.Errorf(lazuli.CodeNotFound, "there is no cloud config with the uid %q", shorten(uid))
		}
		return nil, err
	}
	return cl, nil
}

func getCloudConfig(a *API, c *call) (any, error) {
	cl, err := a.configured(c)
	if err != nil {
		return nil, err
	}
	account, err := a.accountOf(c, cl)
	if err != nil {
		return nil, err
	}
	return rendered(palette.CloudConfigOf(cl, account.Name))
}

// pool finds the cluster of a path, and the machines of the path's pool.
func (a *API) pool(c *call) (*lazuli.Cluster, []lazuli.Machine, error) {
	cl, err := a.configured(c)
	if err != nil {
		return nil, nil, err
	}
	spec, err := palette.ClusterSpec(cl.Spec)
	if err != nil {
		return cl, nil, fmt.Errorf("view cluster %s: %w", cl.UID, err)
	}
	name := c.param("name")
	machines, err := a.machines(c, cl.UID)
	if err != nil {
		return cl, nil, err
	}
	machines = slices.DeleteFunc(machines, func(m lazuli.Machine) bool { return m.Pool != name })
	wanted := slices.ContainsFunc(spec.Pools, func(p lazuli.Pool) bool { return p.Name == name })
	if !wanted && len(machines) == 0 {
		return cl, nil, lazuli.Errorf(lazuli.CodeNotFound, "the cluster has no pool %q", shorten(name))
	}
	return cl, machines, nil
}

func listMachines(a *API, c *call) (any, error) {
	w, err := c.window()
	if err != nil {
		return nil, err
	}
	cl, machines, err := a.pool(c)
	if err != nil {
		return nil, err
	}
	page, meta, err := cut(w, machines)
	if err != nil {
		return nil, err
	}
	items := make([]palette.Machine, 0, len(page))
	for i := range page {
		m, err := palette.MachineOf(&page[i], cl)
		if err != nil {
			return nil, fmt.Errorf("render the answer: %w", err)
		}
		items = append(items, m)
	}
	return palette.NewList(items, meta), nil
}

func getMachine(a *API, c *call) (any, error) {
	cl, machines, err := a.pool(c)
	if err != nil {
		return nil, err
	}
	uid := c.param("machineUid")
	for i := range machines {
		if machines[i].UID == uid {
			return rendered(palette.MachineOf(&machines[i], cl))
		}
	}
	return nil, notFound(lazuli.KindMachine, uid)
}

// getAdminKubeconfig answers the administrator's kubeconfig.
func getAdminKubeconfig(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return a.kubeconfig(c, cl)
}

// getKubeconfig answers the kubeconfig of those who may not have the
// administrator's. It needs an identity provider, of which the hub has none
// yet; until then it is the administrator's for those who may have that, and
// there is none for others, which Terraform takes for "empty".
func getKubeconfig(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	if !c.actor.May(auth.ClusterDelete, cl.Project) {
		return nil, noKubeconfig(cl)
	}
	return a.kubeconfig(c, cl)
}

func noKubeconfig(cl *lazuli.Cluster) error {
	return lazuli.Errorf(lazuli.CodeNotFound, "cluster %q has no kubeconfig for this API key, now", cl.Name)
}

func (a *API) kubeconfig(c *call, cl *lazuli.Cluster) (any, error) {
	secrets, err := a.secretsOf(c, cl)
	if err != nil {
		return nil, err
	}
	if secrets == nil {
		return nil, noKubeconfig(cl)
	}
	if len(secrets.AdminKubeconfig) == 0 {
		return nil, noKubeconfig(cl)
	}
	return octets{data: secrets.AdminKubeconfig, filename: cl.Name + ".kubeconfig"}, nil
}
