// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
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
	if err := a.name(c, d); err != nil {
		return nil, err
	}
	if _, err := a.notice(d.cluster); err != nil {
		return nil, err
	}
	uid, err := createOnce(a, c, d.cluster, func(tx store.Tx) error { return a.storeCluster(c, tx, d) })
	return palette.UID{UID: uid}, err
}

// name gives a draft its uids.
func (a *API) name(c *call, d *draft) error {
	uid, err := a.newUID()
	if err != nil {
		return err
	}
	d.cluster.UID, d.cluster.CloudConfigUID = uid, cloudConfigUID(uid)
	d.cluster.Requester = c.actor.UserUID
	return a.sealValues(d.cluster)
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
	d.cluster = &lazuli.Cluster{
		Meta:   lazuli.Meta{Project: project},
		Spec:   raw.Spec,
		Status: lazuli.ClusterStatus{State: lazuli.StatePending},
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
	var err error
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
	m := merger{api: a, f: &d.findings}
	for i := range s.Profiles {
		p, err := a.attach(ctx, c, d, i)
		if err != nil {
			return err
		}
		if p != nil {
			d.profiles = append(d.profiles, p)
			m.add(i, p, &s.Profiles[i])
		}
	}
	if len(d.profiles) == len(s.Profiles) && len(s.Profiles) > 0 {
		return m.check(ctx, c, d)
	}
	return nil
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

// merger joins profiles with a cluster's own values.
type merger struct {
	api   *API
	f     *findings
	snaps []lazuli.ProfileSnapshot
	paths map[string][]string // of the request, by profile uid and layer

	implied pack.Findings // notices about layers that no profile has
}

// add takes the snapshot of the profile of entry i.
func (m *merger) add(i int, p *lazuli.Profile, in *palette.ClusterProfileEntityRef) {
	snap := lazuli.ProfileSnapshot{
		UID: p.UID, Name: p.Name, Type: p.Type, CloudType: p.CloudType, ProfileVersion: p.ProfileVersion,
	}
	paths := make([]string, len(p.Published))
	byName := make(map[string]int, len(p.Published))
	for k, l := range p.Published {
		byName[l.Name], paths[k] = k, fmt.Sprintf("spec.profiles[%d].uid", i)
		l.Manifests = append([]lazuli.Manifest(nil), l.Manifests...)
		snap.Layers = append(snap.Layers, l)
	}
	if len(in.PackValues) > maxLayers {
		m.f.fault(fmt.Sprintf("spec.profiles[%d].packValues", i), "has more than %d entries", maxLayers)
		return
	}
	seen := map[string]bool{}
	for j, o := range in.PackValues {
		at := fmt.Sprintf("spec.profiles[%d].packValues[%d]", i, j)
		k, ok := byName[o.Name]
		switch {
		case !ok:
			m.f.fault(at+".name", "profile %q has no pack %q", p.Name, shorten(o.Name))
			continue
		case seen[o.Name]:
			m.f.fault(at+".name", "%q is there twice", shorten(o.Name))
			continue
		}
		seen[o.Name] = true
		paths[k] = at
		m.override(at, &snap.Layers[k], &o)
	}
	m.giveValues(fmt.Sprintf("spec.profiles[%d].variables", i), &snap, p, in.Variables)
	paths = m.imply(&snap, paths, fmt.Sprintf("spec.profiles[%d].uid", i))
	if m.paths == nil {
		m.paths = map[string][]string{}
	}
	m.paths[p.UID] = paths
	m.snaps = append(m.snaps, snap)
}

// override lays a cluster's values and manifests over a layer.
func (m *merger) override(at string, l *lazuli.Layer, o *palette.PackValuesEntity) {
	if o.Tag != "" && o.Tag != l.Tag && o.Tag != l.Version {
		m.f.fault(at+".tag", "is %q, and the profile has version %q; another version needs another version of the profile",
			shorten(o.Tag), orElse(l.Version, l.Tag))
	}
	if len(o.Manifests) > maxManifests {
		m.f.fault(at+".manifests", "has more than %d entries", maxManifests)
		return
	}
	for n, mf := range o.Manifests {
		k := manifestIndex(l.Manifests, mf.Name)
		if k < 0 {
			m.f.fault(fmt.Sprintf("%s.manifests[%d].name", at, n), "pack %q has no manifest %q", l.Name, shorten(mf.Name))
			continue
		}
		l.Manifests[k].Content = mf.Content
	}
	if strings.TrimSpace(o.Values) == "" {
		return
	}
	values, err := mergeValues(l.Values, o.Values)
	if err != nil {
		m.f.fault(at+".values", "%s", shorten(err.Error()))
		return
	}
	l.Values = values
}

func manifestIndex(ms []lazuli.Manifest, name string) int {
	for i := range ms {
		if ms[i].Name == name {
			return i
		}
	}
	return -1
}

// mergeValues lays override over base. Where override says all that base does,
// it is taken as written, with its comments and its order.
func mergeValues(base, override string) (string, error) {
	if pack.HasExpression(base) || pack.HasExpression(override) {
		return pack.OverlayText(base, override) //nolint:wrapcheck // the caller names the values
	}
	merged, err := pack.MergeValues(base, override)
	if err != nil {
		return "", fmt.Errorf("merge the values with the profile's: %w", err)
	}
	alone, err := pack.MergeValues("", override)
	if err == nil && reflect.DeepEqual(merged, alone) {
		return override, nil
	}
	text, err := yaml.Marshal(merged)
	if err != nil {
		return "", fmt.Errorf("write the merged values: %w", err)
	}
	return string(text), nil
}

// check looks at all snapshots together: one infrastructure, and packs that
// make a cluster.
func (m *merger) check(ctx context.Context, c *call, d *draft) error {
	infra := -1
	for i, s := range m.snaps {
		if s.Type == palette.TypeAddOn {
			continue
		}
		if infra >= 0 {
			m.f.fault(fmt.Sprintf("spec.profiles[%d].uid", i), "%q is a second profile with an infrastructure, beside %q",
				s.Name, m.snaps[infra].Name)
			return nil
		}
		infra = i
	}
	if infra < 0 {
		m.f.fault("spec.profiles", "needs a profile of type infra or cluster; these are add-ons only")
		return nil
	}
	d.cluster.Profiles = m.snaps
	snaps, err := m.api.resolved(ctx, m.api.Store, c, d.cluster, d.account)
	if err != nil {
		d.undefined = err
		if lazuli.CodeOf(err) == lazuli.CodeInternal {
			return err
		}
		return nil
	}
	var layers []lazuli.Layer
	var paths []string
	collect := func(s *lazuli.ProfileSnapshot) {
		layers, paths = append(layers, s.Layers...), append(paths, m.paths[s.UID]...)
	}
	collect(&snaps[infra])
	for i := range snaps {
		if i != infra {
			collect(&snaps[i])
		}
	}
	if found := m.api.Packs.Validate(palette.TypeFull, layers); len(found) > 0 {
		for _, x := range found {
			m.f.fault(rebase(x.Path, paths), "%s", x.Message)
		}
		return nil
	}
	settings, err := m.api.Packs.Settings(layers)
	if err != nil {
		m.f.fault("spec.profiles", "%s", shorten(asError(err).Message))
		return nil
	}
	for _, n := range slices.Concat(m.implied, settings.Notices) {
		d.notices = append(d.notices, n.Message+".")
	}
	checkOverlap(m.f, d.in.Spec.CloudConfig, &settings)
	return nil
}

// rebase turns a path of pack's, which counts layers, into one of the request.
func rebase(path string, paths []string) string {
	var i int
	if _, err := fmt.Sscanf(path, "spec.template.packs[%d]", &i); err != nil || i < 0 || i >= len(paths) {
		return "spec.profiles"
	}
	at := paths[i]
	if strings.HasSuffix(at, ".uid") {
		return at
	}
	_, rest, _ := strings.Cut(path, "]")
	return at + rest
}

// checkOverlap keeps the ranges of machines, pods and Services apart.
func checkOverlap(f *findings, c *palette.AzureClusterConfig, s *pack.Settings) {
	if c == nil {
		return
	}
	vnet, err := netip.ParsePrefix(c.VNetCIDRBlock)
	if err != nil {
		return // none, or a fault already
	}
	for _, r := range []struct{ name, cidr string }{{"pods", s.PodCIDR}, {"Services", s.ServiceCIDR}} {
		if other, err := netip.ParsePrefix(r.cidr); err == nil && other.Overlaps(vnet) {
			f.fault("spec.cloudConfig.vnetCidrBlock", "%s overlaps the range of the %s, %s", vnet, r.name, other)
		}
	}
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
