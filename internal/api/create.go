// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

const (
	maxProfiles = 50 // of a cluster
	maxNotices  = 20 // events of one sort that a create writes
)

// draft is a cluster to be and what was read to decide that it can be.
type draft struct {
	cluster  *lazuli.Cluster
	in       palette.AzureClusterEntity
	account  *lazuli.Account
	profiles []*lazuli.Profile
	findings findings
	unasked  error    // why Azure could not be asked
	notices  []string // of the packs
	rejected error    // an answer of Azure about the account as a whole
	taken    error    // the name is another cluster's
	again    string   // uid of the cluster that this very request made a moment ago
	// undefined is an expression that stands for nothing, or cannot be resolved.
	undefined error
}

// err is why the cluster cannot be, if so.
func (d *draft) err() error {
	if err := d.findings.faults.Err(); err != nil {
		return err
	}
	return errors.Join(d.undefined, d.taken, d.rejected)
}

// createCluster checks a request to the last field and stores what is wanted.
// Making it so is the engine's. The same request again, by a client that did not
// hear the first answer, makes no second cluster.
func createCluster(a *API, c *call) (any, error) {
	project, err := a.mayCreate(c)
	if err != nil {
		return nil, err
	}
	d, err := a.draftCluster(c, project)
	if err != nil {
		return nil, err
	}
	if d.again != "" {
		return palette.UID{UID: d.again}, nil
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	if _, err := a.notice(d.cluster); err != nil {
		return nil, err
	}
	uid, err := createOnce(a, c, d.cluster, func(tx store.Tx) error { return a.storeCluster(c, tx, d) })
	return palette.UID{UID: uid}, err
}

// storeCluster writes what a new cluster has beside itself, provided that what
// it refers to is what was checked.
func (a *API) storeCluster(c *call, tx store.Tx, d *draft) error {
	if err := d.unchanged(c, tx); err != nil {
		return err
	}
	cl := d.cluster
	if err := tx.Touch(c.ctx(), store.WorkKey{Kind: lazuli.KindCluster, ID: cl.UID}, time.Time{}); err != nil {
		return fmt.Errorf("wake the engine for cluster %s: %w", cl.UID, err)
	}
	err := errors.Join(
		a.event(c, tx, cl, lazuli.SeverityInfo, "ClusterCreated", "The cluster was requested by "+c.actor.Name+"."),
		a.unprobed(c, tx, cl, d.unasked))
	for _, n := range cl.Notices[:min(len(cl.Notices), maxNotices)] {
		err = errors.Join(err, a.event(c, tx, cl, lazuli.SeverityWarning, "FieldWithoutEffect", n.Field+" "+n.Message+"."))
	}
	for _, n := range d.notices[:min(len(d.notices), maxNotices)] {
		err = errors.Join(err, a.event(c, tx, cl, lazuli.SeverityWarning, "PackNotice", n))
	}
	return errors.Join(err, tx.AppendAudit(c.ctx(), c.audit(lazuli.KindCluster, cl.UID, cl.Project)))
}

// unchanged refuses when account or profiles moved on since they were checked.
func (d *draft) unchanged(c *call, tx store.Tx) error {
	acc, err := get[lazuli.Account](c.ctx(), tx, c, d.account.UID)
	if err != nil || acc.Version != d.account.Version {
		return movedOn(err, "account", d.account.Name)
	}
	for _, p := range d.profiles {
		now, err := get[lazuli.Profile](c.ctx(), tx, c, p.UID)
		if err != nil || now.Version != p.Version {
			return movedOn(err, "profile", p.Name)
		}
	}
	return nil
}

func movedOn(err error, what, name string) error {
	if err != nil && lazuli.CodeOf(err) != lazuli.CodeNotFound {
		return err
	}
	return lazuli.Errorf(lazuli.CodeConflict, "%s %q was changed or deleted while the cluster was checked", what, name)
}

// draftCluster reads and checks a request. An error is about the request as a
// whole; what speaks against the cluster is in the draft.
func (a *API) draftCluster(c *call, project string) (*draft, error) {
	d := &draft{}
	if err := decode(c.body, &d.in); err != nil {
		return nil, err
	}
	var raw struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := decode(c.body, &raw); err != nil {
		return nil, err
	}
	checkCluster(&d.findings, &d.in)
	uid, err := a.newUID()
	if err != nil {
		return nil, err
	}
	d.cluster = &lazuli.Cluster{
		Meta:           lazuli.Meta{UID: uid, Project: project},
		CloudConfigUID: cloudConfigUID(uid),
		Requester:      c.actor.UserUID,
		Spec:           withoutSecrets(raw.Spec),
		Status:         lazuli.ClusterStatus{State: lazuli.StatePending},
	}
	if m := d.in.Metadata; m != nil {
		d.cluster.Name, d.cluster.Labels = m.Name, m.Labels
		d.cluster.Annotations = annotations(&lazuli.Fields{}, m) // checked already
	}
	if d.in.Spec == nil {
		return d, nil
	}
	if lazuli.ValidName(d.cluster.Name) {
		d.again, d.taken = repeated(a, c, d.cluster)
		if d.again != "" || d.taken != nil && lazuli.CodeOf(d.taken) != lazuli.CodeDuplicateName {
			return d, d.taken
		}
	}
	if err := a.refer(c.ctx(), c, d); err != nil {
		return nil, err
	}
	// Azure is asked only about a request that is right in itself: its answers
	// would be about something else.
	if len(d.findings.faults) > 0 || d.taken != nil || d.undefined != nil {
		return d, nil //nolint:nilerr // the draft carries what is wrong with it
	}
	d.unasked, err = a.place(c.ctx(), &d.findings, d.in.Spec, d.account)
	if lazuli.CodeOf(err) == lazuli.CodeInternal {
		return nil, err
	}
	d.rejected = err
	return d, nil
}

// refer looks up what a request refers to by uid, and takes the snapshots of
// the profiles.
func (a *API) refer(ctx context.Context, c *call, d *draft) error {
	s := d.in.Spec
	if s.CloudAccountUID != "" {
		acc, err := reference[lazuli.Account](ctx, a.Store, c, d.cluster.Project, s.CloudAccountUID)
		switch {
		case err == nil:
			d.account, d.cluster.AccountUID = acc, acc.UID
		case lazuli.CodeOf(err) == lazuli.CodeNotFound:
			d.findings.fault("spec.cloudAccountUid", "the project has no cloud account with the uid %q", shorten(s.CloudAccountUID))
		default:
			return err
		}
	}
	if len(s.Profiles) > maxProfiles {
		d.findings.fault("spec.profiles", "has more than %d entries", maxProfiles)
		return nil
	}
	m := merger{api: a, f: &d.findings, at: "spec."}
	var snaps []lazuli.ProfileSnapshot
	for i := range s.Profiles {
		p, err := a.attach(ctx, c, d, i)
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		d.profiles = append(d.profiles, p)
		snap, err := m.take(fmt.Sprintf("spec.profiles[%d]", i), p, &s.Profiles[i], nil, d.cluster.UID)
		if err != nil {
			return err
		}
		snaps = append(snaps, snap)
	}
	if len(d.profiles) != len(s.Profiles) || len(s.Profiles) == 0 {
		return nil
	}
	d.cluster.Profiles = snaps
	_, notices, err := m.settle(ctx, a.Store, c, d.cluster, d.account, s.CloudConfig)
	d.notices = notices
	if err != nil && lazuli.CodeOf(err) != lazuli.CodeInternal {
		d.undefined, err = err, nil
	}
	return err
}

// reference is get for a uid inside a request of a project: the object must be
// of that project or of the tenant, whatever else the caller may see. Otherwise
// a cluster of one project could borrow the credentials of another. A cluster of
// the tenant may use what its maker sees.
func reference[T any, P object[T]](ctx context.Context, r store.Reader, c *call, project, uid string) (P, error) {
	o, err := get[T, P](ctx, r, c, uid)
	if err != nil {
		return nil, err
	}
	if p := o.Head().Project; p != "" && project != "" && p != project {
		return nil, notFound(o.Kind(), uid)
	}
	return o, nil
}

// attach reads the profile of entry i, nil when it cannot be attached.
func (a *API) attach(ctx context.Context, c *call, d *draft, i int) (*lazuli.Profile, error) {
	in, at := &d.in.Spec.Profiles[i], fmt.Sprintf("spec.profiles[%d].", i)
	p, err := reference[lazuli.Profile](ctx, a.Store, c, d.cluster.Project, in.UID)
	if err != nil {
		if lazuli.CodeOf(err) == lazuli.CodeNotFound {
			d.findings.fault(at+"uid", "the project has no cluster profile with the uid %q", shorten(in.UID))
			return nil, nil //nolint:nilnil // the fault is recorded
		}
		return nil, err
	}
	for _, other := range d.profiles {
		if other.UID == p.UID {
			d.findings.fault(at+"uid", "profile %q is there twice", p.Name)
			return nil, nil //nolint:nilnil // as above
		}
	}
	if !p.IsPublished {
		d.findings.fault(at+"uid", "profile %q is a draft; publish it first", p.Name)
		return nil, nil //nolint:nilnil // as above
	}
	return p, nil
}

// Levels of a plan's findings.
const (
	levelError   = "error"
	levelWarning = "warning"
)

// planFinding is one finding of a plan.
type planFinding struct {
	Level   string      `json:"level"`
	Code    lazuli.Code `json:"code,omitempty"`
	Field   string      `json:"field,omitempty"`
	Message string      `json:"message"`
	Remedy  string      `json:"remedy,omitempty"`
}

// plan tells what a create request would come to.
type plan struct {
	OK       bool          `json:"ok"` // the create would be accepted
	Findings []planFinding `json:"findings"`
}

// planCluster checks a create request and stores nothing.
func planCluster(a *API, c *call) (any, error) {
	project, err := a.mayCreate(c)
	if err != nil {
		return nil, err
	}
	d, err := a.draftCluster(c, project)
	if err != nil {
		return nil, err
	}
	out := plan{OK: d.err() == nil, Findings: []planFinding{}}
	for _, x := range d.findings.faults {
		out.Findings = append(out.Findings, planFinding{
			Level: levelError, Code: lazuli.CodeInvalidField, Field: x.Path, Message: x.Message,
		})
	}
	for _, err := range []error{d.undefined, d.taken, d.rejected} {
		if err == nil {
			continue
		}
		e := asError(err)
		x := planFinding{Level: levelError, Code: e.Code, Message: e.Message, Remedy: orElse(e.Remedy, errorRow(e.Code).Remedy)}
		if len(e.Fields) > 0 {
			x.Field = e.Fields[0].Path
		}
		out.Findings = append(out.Findings, x)
	}
	if d.unasked != nil {
		e := asError(d.unasked)
		out.Findings = append(out.Findings, planFinding{
			Level: levelWarning, Code: e.Code, Message: "Azure could not be asked: " + e.Message, Remedy: errorRow(e.Code).Remedy,
		})
	}
	for _, x := range d.findings.warnings {
		out.Findings = append(out.Findings, planFinding{Level: levelWarning, Field: x.Path, Message: x.Message})
	}
	for _, n := range d.notices {
		out.Findings = append(out.Findings, planFinding{Level: levelWarning, Message: n})
	}
	return out, nil
}
