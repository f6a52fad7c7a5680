// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

const accepted = http.StatusAccepted

// clusterDay2Routes are the rows of what a cluster accepts after its creation.
func clusterDay2Routes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	const cluster, config = "/v1/spectroclusters/{uid}", "/v1/cloudconfigs/azure/{uid}"
	const machine = "/v1/cloudconfigs/{cloudType}/{uid}/machinePools/{name}/machines/{machineUid}"
	return []route{
		{Method: put, Pattern: config + "/clusterConfig", Operation: "v1CloudConfigsAzureUidClusterConfig", Permission: auth.CloudConfigUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updateCloudConfig},
		{Method: post, Pattern: config + "/machinePools", Operation: "v1CloudConfigsAzureMachinePoolCreate", Permission: auth.CloudConfigUpdate, Status: created, Body: maxBody, Mutates: true, Handle: createPool},
		{Method: put, Pattern: config + "/machinePools/{name}", Operation: "v1CloudConfigsAzureMachinePoolUpdate", Permission: auth.CloudConfigUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updatePool},
		{Method: del, Pattern: config + "/machinePools/{name}", Operation: "v1CloudConfigsAzureMachinePoolDelete", Permission: auth.CloudConfigUpdate, Status: noContent, Mutates: true, Handle: deletePool},
		{Method: put, Pattern: machine + "/maintenance", Operation: "v1CloudConfigsMachinePoolsMachineUidMaintenanceUpdate", Permission: auth.MachineUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updateMaintenance},

		{Method: get, Pattern: cluster + "/profiles", Operation: "v1SpectroClustersGetProfiles", Permission: auth.ClusterGet, Status: ok, Handle: listClusterProfiles},
		{Method: put, Pattern: cluster + "/profiles", Operation: "v1SpectroClustersUpdateProfiles", Permission: auth.ClusterUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: putProfiles},
		{Method: patch, Pattern: cluster + "/profiles", Operation: "v1SpectroClustersPatchProfiles", Permission: auth.ClusterUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: patchProfiles},
		{Method: del, Pattern: cluster + "/profiles", Operation: "v1SpectroClustersDeleteProfiles", Permission: auth.ClusterUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: detachProfiles},
		{Method: get, Pattern: cluster + "/status/spcApply", Operation: "v1SpectroClustersUidStatusSpcApplyGet", Permission: auth.ClusterGet, Status: ok, Handle: getSpcApply},
		{Method: post, Pattern: cluster + "/status/spcApply", Operation: "v1SpectroClustersUidStatusSpcApply", Permission: auth.ClusterUpdate, Status: accepted, Mutates: true, Handle: applyProfiles},
		{Method: get, Pattern: cluster + "/variables", Operation: "v1SpectroClustersUidVariablesGet", Permission: auth.ClusterGet, Status: ok, Handle: listVariables},
		{Method: patch, Pattern: cluster + "/variables", Operation: "v1SpectroClustersUidVariablesPatch", Permission: auth.ClusterUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: patchVariables},

		{Method: get, Pattern: "/lazuli/v1/clusters/{uid}/notices", Operation: "listNotices", Permission: auth.ClusterGet, Status: ok, Handle: listNotices},
	}
}

// maxConflicts is how often a change is tried again because another one came
// between.
const maxConflicts = 5

// change is one change of a cluster under way, inside its transaction.
type change struct {
	*call

	tx     store.Tx     // nil when nothing is to be stored
	reader store.Reader // tx, or the store
	cl     *lazuli.Cluster
	// reason and text make the event of the change; without a reason there is none.
	reason, text string
	idle         bool // nothing changed after all
}

func (ch *change) say(reason, format string, args ...any) {
	ch.reason, ch.text = reason, fmt.Sprintf(format, args...)
}

// changeCluster runs do on a cluster that lives, and stores what came of it with
// its notices, its event and its audit record, and wakes the engine. Of two
// changes at once none is lost: the later reads what the earlier wrote.
func (a *API) changeCluster(c *call, uid string, do func(*change) error) error {
	for try := 1; ; try++ {
		var refused error
		err := a.Store.Update(c.ctx(), func(tx store.Tx) error {
			refused = nil
			cl, err := getToChange[lazuli.Cluster](c.ctx(), tx, c, uid)
			if err == nil {
				err = alive(cl)
			}
			ch := &change{call: c, tx: tx, reader: tx, cl: cl}
			if err == nil {
				err = do(ch)
			}
			if err != nil {
				refused = err
				return err
			}
			return a.storeChange(ch)
		})
		if refused != nil || lazuli.CodeOf(err) != lazuli.CodeConflict || try == maxConflicts {
			return err
		}
	}
}

// alive refuses a change of a cluster that is on its way out.
func alive(cl *lazuli.Cluster) error {
	if cl.Delete == nil && cl.Status.State != lazuli.StateDeleting && cl.Status.State != lazuli.StateDeleted {
		return nil
	}
	return &lazuli.Error{
		Code: lazuli.CodeConflict, Message: fmt.Sprintf("cluster %q is %s and takes no changes", cl.Name, cl.Status.State),
		Remedy: "Create another cluster; the name is free once this one reads Deleted.",
	}
}

func (a *API) storeChange(ch *change) error {
	c, cl := ch.call, ch.cl
	audit := ch.tx.AppendAudit(c.ctx(), c.audit(lazuli.KindCluster, cl.UID, cl.Project))
	if ch.idle {
		return audit
	}
	fresh, err := a.notice(cl)
	if err != nil {
		return err
	}
	if err := ch.tx.Update(c.ctx(), cl); err != nil {
		return fmt.Errorf("change cluster %s: %w", cl.UID, err)
	}
	if err := ch.tx.Touch(c.ctx(), store.WorkKey{Kind: lazuli.KindCluster, ID: cl.UID}, time.Time{}); err != nil {
		return fmt.Errorf("wake the engine for cluster %s: %w", cl.UID, err)
	}
	if ch.reason != "" {
		audit = errors.Join(audit, a.event(c, ch.tx, cl, lazuli.SeverityInfo, ch.reason, ch.text))
	}
	for _, n := range fresh[:min(len(fresh), maxNotices)] {
		audit = errors.Join(audit, a.event(c, ch.tx, cl, lazuli.SeverityWarning, "FieldWithoutEffect", n.Field+" "+n.Message+"."))
	}
	return audit
}

// notice records which parts of a cluster's wish have no effect, and returns
// those that are new.
func (a *API) notice(cl *lazuli.Cluster) ([]lazuli.Notice, error) {
	spec, err := palette.Spec(cl)
	if err != nil {
		return nil, err
	}
	var f findings
	checkEffects(&f, &spec)
	labelEffects(&f, cl.Labels)
	f.without(!cl.RenewAt.IsZero(), "k8certificates/renew", "certificates are not renewed yet; kubeadm's own are good for a year")
	for _, p := range cl.Profiles {
		for _, l := range p.Layers {
			f.without(l.Type == pack.TypeHelm || l.Type == pack.TypeOCI, "spec.profiles",
				fmt.Sprintf("pack %q of profile %q is of type %s, and charts are not installed yet", l.Name, p.Name, l.Type))
		}
	}
	var all, fresh []lazuli.Notice
	for _, w := range f.warnings {
		n := lazuli.Notice{Field: w.Path, Message: w.Message, Since: a.Now().UTC()}
		i := slices.IndexFunc(cl.Notices, func(o lazuli.Notice) bool { return o.Field == n.Field && o.Message == n.Message })
		if i >= 0 {
			n.Since = cl.Notices[i].Since
		} else {
			fresh = append(fresh, n)
		}
		all = append(all, n)
	}
	cl.Notices = all
	return fresh, nil
}

// listNotices answers what of a cluster's wish has no effect, or not on
// everything: as far as requests tell, and as far as the engine found.
func listNotices(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	out := wire.Notices{Items: []wire.Notice{}}
	for _, n := range slices.Concat(cl.Notices, cl.Status.Notices) {
		out.Items = append(out.Items, wire.Notice{Field: n.Field, Message: n.Message, Since: wire.At(n.Since)})
	}
	return out, nil
}
