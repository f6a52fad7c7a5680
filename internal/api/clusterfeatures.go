// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// clusterFeatureRoutes are the rows of what is configured of a cluster apart from
// its pools and profiles.
func clusterFeatureRoutes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	const cluster = "/v1/spectroclusters/{uid}"
	const config, backup, scan = cluster + "/clusterConfig", cluster + "/features/backup", cluster + "/features/complianceScan"
	const namespaces, rbacs = cluster + "/config/namespaces", cluster + "/config/rbacs"
	row := func(method, pattern, operation string, p auth.Permission, status int, handle func(*API, *call) (any, error)) route {
		r := route{Method: method, Pattern: pattern, Operation: operation, Permission: p, Status: status, Mutates: method != get, Handle: handle}
		if r.Mutates && method != del {
			r.Body = maxBody
		}
		return r
	}
	rows := []route{
		row(get, "/v1/spectroclusters/validate/name", "v1SpectroClustersValidateName", auth.ClusterCreate, noContent, validateClusterName),
		row(get, "/v1/dashboard/spectroclusters/{uid}", "v1SpectroClustersSummaryUid", auth.ClusterGet, ok, getOverview),
		row(get, cluster+"/status", "v1SpectroClustersUidStatus", auth.ClusterGet, ok, getClusterStatus),
		row(patch, cluster+"/metadata", "v1SpectroClustersUidMetadataUpdate", auth.ClusterUpdate, noContent, patchMetadata),
		row(put, cluster+"/location", "v1SpectroClustersUidLocationPut", auth.ClusterUpdate, noContent, setConfig("location", palette.MemberLocation)),
		row(patch, config+"/osPatch", "v1SpectroClustersUidOsPatchUpdate", auth.ClusterUpdate, noContent, setConfig("osPatchConfig", "machineManagementConfig", "osPatchConfig")),
		row(patch, config+"/clusterMetaAttribute", "v1SpectroClustersUidClusterMetaAttributeUpdate", auth.ClusterUpdate, noContent, setConfig("clusterMetaAttribute", "clusterMetaAttribute")),
		row(patch, config+"/timezone", "v1SpectroClustersUidTimezoneUpdate", auth.ClusterUpdate, noContent, setConfig("timezone", "timezone")),
		row(patch, config+"/hostCluster", "V1HostClusterConfigUpdate", auth.ClusterUpdate, noContent, setConfig("hostClusterConfig", "hostClusterConfig")),
		row(patch, config+"/lifecycleConfig", "v1SpectroClustersUidLifecycleConfigUpdate", auth.ClusterUpdate, noContent, setConfig("lifecycleConfig", "lifecycleConfig")),
		row(patch, config+"/controlPlaneHealthCheckTimeout", "V1ControlPlaneHealthCheckTimeoutUpdate", auth.ClusterUpdate, noContent,
			setConfig("controlPlaneHealthCheckTimeout", "controlPlaneHealthCheckTimeout")),
		row(post, cluster+"/upgrade/settings", "v1SpectroClustersUidUpgradeSettings", auth.ClusterUpdate, noContent, setUpgrades),
		row(get, namespaces, "v1SpectroClustersUidConfigNamespacesGet", auth.ClusterGet, ok, listResources(palette.MemberNamespaces)),
		row(put, namespaces, "v1SpectroClustersUidConfigNamespacesUpdate", auth.ClusterUpdate, noContent,
			setConfig(palette.MemberNamespaces, palette.MemberResources, palette.MemberNamespaces)),
		row(get, namespaces+"/{partUid}", "v1SpectroClustersUidConfigNamespacesUidGet", auth.ClusterGet, ok, getResource(palette.MemberNamespaces)),
		row(put, namespaces+"/{partUid}", "v1SpectroClustersUidConfigNamespacesUidUpdate", auth.ClusterUpdate, noContent, putResource(palette.MemberNamespaces)),
		row(get, rbacs, "v1SpectroClustersUidConfigRbacsGet", auth.ClusterGet, ok, listResources(palette.MemberRBACs)),
		row(put, rbacs, "v1SpectroClustersUidConfigRbacsUpdate", auth.ClusterUpdate, noContent,
			setConfig(palette.MemberRBACs, palette.MemberResources, palette.MemberRBACs)),
		row(get, rbacs+"/{partUid}", "v1SpectroClustersUidConfigRbacsUidGet", auth.ClusterGet, ok, getResource(palette.MemberRBACs)),
		row(put, rbacs+"/{partUid}", "v1SpectroClustersUidConfigRbacsUidUpdate", auth.ClusterUpdate, noContent, putResource(palette.MemberRBACs)),
		row(get, backup, "v1ClusterFeatureBackupGet", auth.ClusterGet, ok, getBackup),
		row(post, backup, "v1ClusterFeatureBackupCreate", auth.ClusterUpdate, created, createPolicy(palette.MemberBackup)),
		row(put, backup, "v1ClusterFeatureBackupUpdate", auth.ClusterUpdate, noContent, setPolicy(palette.MemberBackup)),
		row(del, backup, "v1ClusterFeatureBackupScheduleReset", auth.ClusterUpdate, noContent, dropPolicy(palette.MemberBackup)),
		row(get, scan, "v1ClusterFeatureComplianceScanGet", auth.ClusterGet, ok, getScan),
		row(post, scan, "v1ClusterFeatureComplianceScanCreate", auth.ClusterUpdate, created, createPolicy(palette.MemberScan)),
		row(put, scan, "v1ClusterFeatureComplianceScanUpdate", auth.ClusterUpdate, noContent, setPolicy(palette.MemberScan)),
		row(get, cluster+"/k8certificates", "v1SpectroClustersK8Certificate", auth.ClusterGet, ok, getCertificates),
		row(patch, cluster+"/k8certificates/renew", "v1SpectroClustersCertificatesRenew", auth.ClusterUpdate, noContent, renewCertificates),
		row(patch, cluster+"/repave/approve", "v1SpectroClustersUidRepaveApproveUpdate", auth.ClusterUpdate, noContent, approveRepave),
		row(get, cluster+"/repave/status", "v1SpectroClustersUidRepaveGet", auth.ClusterGet, ok, getRepave),
		row(post, cluster+"/validate/repave", "v1SpectroClustersUidValidateRepave", auth.ClusterUpdate, ok, validateRepave),
	}
	for i := range rows {
		switch rows[i].Operation {
		case "v1SpectroClustersCertificatesRenew", "v1SpectroClustersUidRepaveApproveUpdate":
			rows[i].Body = 0 // they have none
		case "v1SpectroClustersUidValidateRepave":
			rows[i].Mutates = false
		}
	}
	return rows
}

// setConfig makes the handler that replaces one member of a cluster's
// configuration by the body's member of that name; null and absent remove it.
func setConfig(member string, path ...string) func(*API, *call) (any, error) {
	return func(a *API, c *call) (any, error) {
		value, err := palette.Member(c.body, member)
		if err != nil {
			var f lazuli.Fields
			f.Add(wholeBody, "is not an object")
			return nil, f.Err()
		}
		return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
			return ch.configure(member, value, path...)
		})
	}
}

// configure sets one member of the cluster's configuration, provided that the
// whole is good with it.
func (ch *change) configure(member string, value json.RawMessage, path ...string) error {
	at := append([]string{palette.MemberClusterConfig}, path...)
	old, err := palette.Member(ch.cl.Spec, at...)
	if err != nil {
		return fmt.Errorf("read the spec of cluster %s: %w", ch.cl.UID, err)
	}
	if string(old) == string(value) {
		ch.idle = true
		return nil
	}
	if ch.cl.Spec, err = palette.SetMember(ch.cl.Spec, value, at...); err != nil {
		return fmt.Errorf("change the spec of cluster %s: %w", ch.cl.UID, err)
	}
	var f findings
	spec, err := palette.Spec(ch.cl)
	if err != nil {
		f.fault(member, "cannot be read: %s", shorten(err.Error()))
		return f.faults.Err()
	}
	checkClusterConfig(&f, spec.ClusterConfig)
	prefix := "spec." + strings.Join(at[:len(at)-1], ".") + "."
	for i := range f.faults {
		f.faults[i].Path = strings.TrimPrefix(f.faults[i].Path, prefix)
	}
	ch.say("ClusterConfigChanged", "%s changed %s of the cluster.", ch.actor.Name, member)
	return f.faults.Err()
}

// validateClusterName tells whether a cluster could have a name.
func validateClusterName(a *API, c *call) (any, error) {
	project, err := a.mayCreate(c)
	if err != nil {
		return nil, err
	}
	name := c.query("name")
	if !lazuli.ValidName(name) {
		var f lazuli.Fields
		f.Add("name", "%q is not 1 to %d lower-case letters, digits and hyphens, with a letter or digit first and last", shorten(name), lazuli.MaxNameLength)
		return nil, f.Err()
	}
	return nil, nameIsFree(c.ctx(), a.Store, &lazuli.Cluster{Meta: lazuli.Meta{Name: name, Project: project}})
}

func getClusterStatus(a *API, c *call) (any, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return wire.SpectroClusterStatusEntity{Status: &wire.SpectroClusterState{State: string(cl.Status.State)}}, nil
}

// patchMetadata replaces the labels of a cluster, which become the tags of its
// resources where Azure takes their names, and lays annotations over those that it has.
func patchMetadata(a *API, c *call) (any, error) {
	var in struct {
		Metadata *palette.ObjectMeta `json:"metadata"`
	}
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f findings
	if in.Metadata == nil {
		f.fault("metadata", "is required")
		return nil, f.faults.Err()
	}
	checkClusterLabels(&f, in.Metadata.Labels)
	given := annotations(&f.faults, in.Metadata)
	if err := f.faults.Err(); err != nil {
		return nil, err
	}
	return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
		cl := ch.cl
		if in.Metadata.Name != "" && in.Metadata.Name != cl.Name {
			var f lazuli.Fields
			f.Add("metadata.name", "is %q; the cluster is called %q and cannot get another name", shorten(in.Metadata.Name), cl.Name)
			return f.Err()
		}
		merged := maps.Clone(cl.Annotations)
		if merged == nil {
			merged = map[string]string{}
		}
		delete(given, upgradesForbidden) // has an operation of its own
		maps.Copy(merged, given)
		if maps.Equal(merged, cl.Annotations) && maps.Equal(in.Metadata.Labels, cl.Labels) {
			ch.idle = true
			return nil
		}
		cl.Annotations, cl.Labels = merged, in.Metadata.Labels
		ch.say("MetadataChanged", "%s changed the labels or the description of the cluster.", c.actor.Name)
		return nil
	})
}

// upgradesForbidden is the annotation by which clients see the lock of
// setUpgrades.
const upgradesForbidden = "spectroComponentsUpgradeForbidden"

// setUpgrades locks or unlocks upgrades of what the hub runs in a cluster.
func setUpgrades(a *API, c *call) (any, error) {
	var in struct {
		SpectroComponents string `json:"spectroComponents"`
	}
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	const lock, unlock = "lock", "unlock"
	if in.SpectroComponents != lock && in.SpectroComponents != unlock {
		var f lazuli.Fields
		f.Add("spectroComponents", "%q is neither lock nor unlock", shorten(in.SpectroComponents))
		return nil, f.Err()
	}
	return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
		value := strconv.FormatBool(in.SpectroComponents == lock)
		if ch.cl.Annotations[upgradesForbidden] == value {
			ch.idle = true
			return nil
		}
		if ch.cl.Annotations == nil {
			ch.cl.Annotations = map[string]string{}
		}
		ch.cl.Annotations[upgradesForbidden] = value
		ch.say("UpgradeSettingsChanged", "%s said %s to upgrades of what the hub runs in the cluster.", c.actor.Name, in.SpectroComponents)
		return nil
	})
}

// partUID is the uid of one entry of a cluster's resources, by its name or, where
// it has none, by its place.
func partUID(cluster, member, name string) string {
	sum := sha256.Sum256([]byte(cluster + "/" + member + "/" + name))
	return hex.EncodeToString(sum[:])[:lazuli.UIDLength]
}

// resourcesOf are the namespaces or role bindings of a cluster, as sent, with
// what clients read without a look.
func resourcesOf(cl *lazuli.Cluster, member string) (parts []map[string]json.RawMessage, uids []string, err error) {
	raw, err := palette.Member(cl.Spec, palette.MemberClusterConfig, palette.MemberResources, member)
	if err == nil && raw != nil {
		err = json.Unmarshal(palette.WithoutNulls(raw), &parts)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the %s of cluster %s: %w", member, cl.UID, err)
	}
	for i, p := range parts {
		if p == nil {
			p = map[string]json.RawMessage{}
			parts[i] = p
		}
		meta, spec := map[string]json.RawMessage{}, map[string]json.RawMessage{}
		if json.Unmarshal(orObject(p["metadata"]), &meta) != nil || json.Unmarshal(orObject(p["spec"]), &spec) != nil {
			return nil, nil, lazuli.Errorf(lazuli.CodeInternal, "entry %d of the %s of cluster %s cannot be read", i, member, cl.UID)
		}
		var name string
		if json.Unmarshal(meta["name"], &name) != nil || name == "" {
			name = strconv.Itoa(i)
		}
		uid := partUID(cl.UID, member, name)
		uids = append(uids, uid)
		meta["uid"] = rawOf(uid)
		if _, there := spec["resourceAllocation"]; !there && member == palette.MemberNamespaces {
			spec["resourceAllocation"] = json.RawMessage("{}")
		}
		p["metadata"], p["spec"] = rawOf(meta), rawOf(spec)
	}
	return parts, uids, nil
}

func orObject(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage("{}")
	}
	return raw
}

func listResources(member string) func(*API, *call) (any, error) {
	return func(a *API, c *call) (any, error) {
		cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
		if err != nil {
			return nil, err
		}
		parts, _, err := resourcesOf(cl, member)
		if err != nil {
			return nil, err
		}
		return palette.NewList(parts, nil), nil
	}
}

func getResource(member string) func(*API, *call) (any, error) {
	return func(a *API, c *call) (any, error) {
		cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
		if err != nil {
			return nil, err
		}
		parts, uids, err := resourcesOf(cl, member)
		if err != nil {
			return nil, err
		}
		i := slices.Index(uids, c.param("partUid"))
		if i < 0 {
			return nil, noPart(member, c.param("partUid"))
		}
		return parts[i], nil
	}
}

func noPart(member, uid string) error {
	return lazuli.Errorf(lazuli.CodeNotFound, "the cluster has no entry %q among its %s", shorten(uid), member)
}

// putResource replaces one entry.
func putResource(member string) func(*API, *call) (any, error) {
	return func(a *API, c *call) (any, error) {
		return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
			_, uids, err := resourcesOf(ch.cl, member)
			if err != nil {
				return err
			}
			i := slices.Index(uids, c.param("partUid"))
			if i < 0 {
				return noPart(member, c.param("partUid"))
			}
			raw, err := palette.Member(ch.cl.Spec, palette.MemberClusterConfig, palette.MemberResources, member)
			if err != nil {
				return fmt.Errorf("read the %s of cluster %s: %w", member, ch.cl.UID, err)
			}
			var parts []json.RawMessage
			if err := json.Unmarshal(raw, &parts); err != nil {
				return fmt.Errorf("read the %s of cluster %s: %w", member, ch.cl.UID, err)
			}
			parts[i] = c.body
			return ch.configure(member, rawOf(parts), palette.MemberResources, member)
		})
	}
}

// policyOf is the policy of backups or scans of a cluster, as sent; nil without
// one.
func policyOf(cl *lazuli.Cluster, member string) (json.RawMessage, error) {
	raw, err := palette.Member(cl.Spec, palette.MemberPolicies, member)
	if err != nil {
		return nil, fmt.Errorf("read the %s of cluster %s: %w", member, cl.UID, err)
	}
	if !given(raw) {
		return nil, nil
	}
	return palette.WithoutNulls(raw), nil
}

// policy reads the policy of the cluster of a path, and is not found without one.
func (a *API) policy(c *call, member, what string) (*lazuli.Cluster, json.RawMessage, error) {
	cl, err := get[lazuli.Cluster](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, nil, err
	}
	raw, err := policyOf(cl, member)
	if err == nil && raw == nil {
		err = lazuli.Errorf(lazuli.CodeNotFound, "cluster %q has no %s configured", cl.Name, what)
	}
	return cl, raw, err
}

// withSchedule gives a policy the schedule that clients read without a look.
func withSchedule(raw json.RawMessage) (json.RawMessage, error) {
	have, err := palette.Member(raw, "schedule")
	if err != nil || have != nil {
		return raw, err
	}
	return palette.SetMember(raw, json.RawMessage("{}"), "schedule")
}

func getBackup(a *API, c *call) (any, error) {
	cl, raw, err := a.policy(c, palette.MemberBackup, "backup")
	if err != nil {
		return nil, err
	}
	config, err := withSchedule(raw)
	if err != nil {
		return nil, fmt.Errorf("render the backup policy of cluster %s: %w", cl.UID, err)
	}
	return map[string]any{
		"metadata": wire.ObjectMeta{UID: partUID(cl.UID, palette.MemberPolicies, palette.MemberBackup)},
		"spec":     map[string]any{"clusterUid": cl.UID, "config": config},
		"status":   map[string]any{},
	}, nil
}

// scanDrivers are the drivers of scans by the member of a policy that is about
// them.
var scanDrivers = map[string]string{"kubeBench": "kube-bench", "kubeHunter": "kube-hunter", "sonobuoy": "sonobuoy"}

func getScan(a *API, c *call) (any, error) {
	cl, raw, err := a.policy(c, palette.MemberScan, "complianceScan")
	if err != nil {
		return nil, err
	}
	drivers := map[string]any{}
	for _, member := range sortedKeys(scanDrivers) {
		driver, err := palette.Member(raw, member)
		if err == nil && driver != nil {
			driver, err = withSchedule(driver)
		}
		if err != nil {
			return nil, fmt.Errorf("render the scan policy of cluster %s: %w", cl.UID, err)
		}
		if driver != nil {
			drivers[scanDrivers[member]] = map[string]any{"config": driver}
		}
	}
	return map[string]any{
		"metadata": wire.ObjectMeta{UID: partUID(cl.UID, palette.MemberPolicies, palette.MemberScan)},
		"spec":     map[string]any{"clusterUid": cl.UID, "driverSpec": drivers},
	}, nil
}

// createPolicy sets a policy that the cluster does not have. The same one again
// is no other.
func createPolicy(member string) func(*API, *call) (any, error) {
	return func(a *API, c *call) (any, error) {
		uid := c.param("uid")
		out := palette.UID{UID: partUID(uid, palette.MemberPolicies, member)}
		return out, a.changeCluster(c, uid, func(ch *change) error {
			old, err := policyOf(ch.cl, member)
			switch {
			case err != nil:
				return err
			case old != nil && palette.Equal(old, c.body):
				ch.idle = true
				return nil
			case old != nil:
				return lazuli.Errorf(lazuli.CodeDuplicateName, "the cluster has another %s already; PUT replaces it", member)
			}
			return ch.storePolicy(member, c.body)
		})
	}
}

func setPolicy(member string) func(*API, *call) (any, error) {
	return func(a *API, c *call) (any, error) {
		return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error { return ch.storePolicy(member, c.body) })
	}
}

func dropPolicy(member string) func(*API, *call) (any, error) {
	return func(a *API, c *call) (any, error) {
		return nil, a.changeCluster(c, c.param("uid"), func(ch *change) error {
			old, err := policyOf(ch.cl, member)
			if err != nil {
				return err
			}
			if old == nil {
				ch.idle = true
				return nil
			}
			return ch.storePolicy(member, nil)
		})
	}
}

func (ch *change) storePolicy(member string, raw json.RawMessage) error {
	var f findings
	checkPolicy(&f, "", member, raw)
	if err := f.faults.Err(); err != nil {
		return err
	}
	spec, err := palette.SetMember(ch.cl.Spec, raw, palette.MemberPolicies, member)
	if err != nil {
		return fmt.Errorf("change the spec of cluster %s: %w", ch.cl.UID, err)
	}
	ch.cl.Spec = spec
	ch.say("PolicyChanged", "%s changed the %s of the cluster.", ch.actor.Name, member)
	return nil
}

// checkPolicy checks the schedules of a policy; what else is in it is kept.
func checkPolicy(f *findings, at, member string, raw json.RawMessage) {
	if !given(raw) {
		return
	}
	schedule := func(path string, raw json.RawMessage) {
		var s struct {
			Schedule *struct {
				ScheduledRunTime string `json:"scheduledRunTime"`
			} `json:"schedule"`
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			f.fault(orElse(strings.TrimSuffix(path, "."), wholeBody), "is not a policy")
			return
		}
		if s.Schedule != nil {
			checkSchedule(f, path+"schedule.scheduledRunTime", s.Schedule.ScheduledRunTime)
		}
	}
	if member == palette.MemberBackup {
		schedule(at, raw)
		return
	}
	for _, driver := range sortedKeys(scanDrivers) {
		one, err := palette.Member(raw, driver)
		if err != nil {
			f.fault(orElse(strings.TrimSuffix(at, "."), wholeBody), "is not a policy")
			return
		}
		if one != nil {
			schedule(at+driver+".", one)
		}
	}
}
