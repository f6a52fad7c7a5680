// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	typeVMName   = "Microsoft.Compute/virtualMachines"
	typeVM       = "microsoft.compute/virtualmachines"
	typeDisk     = "Microsoft.Compute/disks"
	typeSet      = "Microsoft.Compute/availabilitySets"
	typeIdentity = "Microsoft.ManagedIdentity/userAssignedIdentities"
)

func diskKind() *kind {
	return &kind{
		typ: typeDisk, latency: "compute.disks", puts: "PutDisk", accepted: true, deletes: true,
		put: putDisk,
		block: func(_ *call, r *resource) *apiError {
			if r.managedBy == "" {
				return nil
			}
			return conflict("OperationNotAllowed", "Disk %s is attached to VM %s.", r.target.name(), r.managedBy)
		},
		view: func(_ *Simulator, r *resource, out object) {
			props := ensure(out, "properties")
			props["diskState"] = "Unattached"
			if r.managedBy != "" {
				out["managedBy"] = r.managedBy
				props["diskState"] = "Attached"
			}
			props["timeCreated"] = r.created.Format(time.RFC3339Nano)
			props["uniqueId"] = resourceGUID(r)
			if n, set := number(props, "diskSizeGB"); set {
				const gib = 1 << 30
				props["diskSizeBytes"] = n * gib
			}
		},
	}
}

func diskSKUs() []string {
	return []string{"Standard_LRS", "StandardSSD_LRS", "StandardSSD_ZRS", "Premium_LRS", "Premium_ZRS", "PremiumV2_LRS", "UltraSSD_LRS"}
}

func putDisk(c *call, r *resource, old object) *apiError {
	sku := str(r.body, "sku", "name")
	if sku == "" {
		sku = "Standard_LRS"
		ensure(r.body, "sku")["name"] = sku
	}
	if !slices.Contains(diskSKUs(), sku) {
		return invalidParameter("sku.name", "The value '%s' of parameter 'sku.name' is invalid.", sku)
	}
	if err := c.checkZones(r, old); err != nil {
		return err
	}
	size, set := number(r.body, "properties", "diskSizeGB")
	if was, before := number(old, "properties", "diskSizeGB"); before {
		if set && size < was {
			return conflict("OperationNotAllowed", "Shrinking a disk size is not allowed. Disk '%s' has %d GB.", r.target.name(), was)
		}
		return nil
	}
	if str(r.body, "properties", "creationData", "createOption") == "" {
		return invalidParameter("creationData.createOption", "Required parameter 'creationData.createOption' is missing (null).")
	}
	if str(r.body, "properties", "creationData", "createOption") == "Empty" && (!set || size < 1) {
		return invalidParameter("disk.diskSizeGB", "Required parameter 'disk.diskSizeGB' is missing (null).")
	}
	return nil
}

func availabilitySetKind() *kind {
	return &kind{
		typ: typeSet,
		put: func(_ *call, r *resource, _ object) *apiError {
			p := ensure(r.body, "properties")
			const faults, updates, mostFaults, mostUpdates = 2, 5, 3, 20
			if n, set := number(p, "platformFaultDomainCount"); !set {
				p["platformFaultDomainCount"] = faults
			} else if n < 1 || n > mostFaults {
				return invalidParameter("platformFaultDomainCount", "The specified fault domain count %d must fall in the range 1 to %d.", n, mostFaults)
			}
			if n, set := number(p, "platformUpdateDomainCount"); !set {
				p["platformUpdateDomainCount"] = updates
			} else if n < 1 || n > mostUpdates {
				return invalidParameter("platformUpdateDomainCount", "The specified update domain count %d must fall in the range 1 to %d.", n, mostUpdates)
			}
			if str(r.body, "sku", "name") == "" {
				ensure(r.body, "sku")["name"] = "Classic"
			}
			return nil
		},
		block: func(c *call, r *resource) *apiError {
			if users := c.sim.store.referrers(r.id, ""); len(users) > 0 {
				return conflict("OperationNotAllowed", "Availability Set '%s' cannot be deleted. Before deleting an Availability Set please ensure that it "+
					"does not contain any VM.", r.target.name())
			}
			return nil
		},
		view: func(s *Simulator, r *resource, out object) {
			props := ensure(out, "properties")
			delete(props, "provisioningState") // An availability set has none.
			props["virtualMachines"] = related(s.store.referrers(r.id, "/virtualmachines/"))
		},
		usage: func(*Simulator, *resource) map[string]int { return map[string]int{"availabilitySets": 1} },
	}
}

func identityKind() *kind {
	return &kind{
		typ: typeIdentity,
		put: func(c *call, r *resource, old object) *apiError {
			p := ensure(r.body, "properties")
			if old != nil {
				for _, k := range []string{"principalId", "clientId", "tenantId"} {
					p[k] = str(old, "properties", k)
				}
				return nil
			}
			p["principalId"], p["clientId"], p["tenantId"] = c.sim.guid(), c.sim.guid(), c.principal.TenantID
			c.sim.world.objects[strings.ToLower(str(p, "principalId"))] = "ServicePrincipal"
			return nil
		},
		removed: func(s *Simulator, r *resource) {
			delete(s.world.objects, strings.ToLower(str(r.body, "properties", "principalId")))
		},
		view: func(_ *Simulator, _ *resource, out object) { delete(child(out, "properties"), "provisioningState") },
	}
}

// skus is the catalogue of sizes and disks, in one page as Azure sends it.
func (c *call) skus() (*reply, *apiError) {
	if c.method != http.MethodGet {
		return nil, methodNotAllowed(c)
	}
	if err := c.authorize("Microsoft.Compute/skus/read", c.target.subscriptionID()); err != nil {
		return nil, err
	}
	want := normalLocation(filterValue(c.query.Get("$filter"), "location"))
	list := []any{}
	for _, r := range c.sim.catalog.regions {
		if want != "" && want != r.Name || !c.sim.knowsLocation(c.target.subscription, r.Name) {
			continue
		}
		for _, v := range c.sim.catalog.sizes {
			if !slices.Contains(v.Absent, r.Name) {
				list = append(list, renderSize(v, r))
			}
		}
		for _, name := range diskSKUs() {
			tier, _, _ := strings.Cut(name, "_")
			list = append(list, object{
				"resourceType": "disks", "name": name, "tier": tier, "locations": []any{r.Name}, "restrictions": []any{}, "capabilities": []any{},
				"locationInfo": []any{object{"location": r.Name, "zones": anys(r.Zones), "zoneDetails": []any{}}},
			})
		}
	}
	return ok(object{"value": list}), nil
}

func renderSize(v vmSize, r region) object {
	capabilities := []any{}
	for _, k := range sortedKeys(v.Capabilities) {
		capabilities = append(capabilities, object{"name": k, "value": v.Capabilities[k]})
	}
	restrictions := []any{}
	for _, x := range v.Restrictions {
		if x.Location != r.Name {
			continue
		}
		info := object{"locations": []any{r.Name}}
		values := []any{r.Name}
		if x.Type == "Zone" {
			info["zones"] = anys(x.Zones)
		}
		restrictions = append(restrictions, object{"type": x.Type, "values": values, "restrictionInfo": info, "reasonCode": x.ReasonCode})
	}
	return object{
		"resourceType": "virtualMachines", "name": v.Name, "tier": v.Tier, "size": v.Size, "family": v.Family, "locations": []any{r.Name},
		"locationInfo": []any{object{"location": r.Name, "zones": anys(v.zones(r)), "zoneDetails": []any{}}},
		"capabilities": capabilities, "restrictions": restrictions,
	}
}

// families lists the quota families of the catalogue, in order.
func (c *catalog) families() []string {
	var out []string
	for _, v := range c.sizes {
		if !slices.Contains(out, v.Family) {
			out = append(out, v.Family)
		}
	}
	slices.Sort(out)
	return out
}

// limit of a quota in a region of a subscription; -1: none.
func (s *Simulator) quota(subscription, location, name string) int {
	for _, l := range []string{location, ""} {
		if v, set := s.world.quotas[quotaKey(subscription, l, name)]; set {
			return v
		}
	}
	q := s.catalog.quota
	switch name {
	case "cores":
		return q.Compute.Cores
	case "virtualMachines":
		return q.Compute.VirtualMachines
	case "availabilitySets":
		return q.Compute.AvailabilitySets
	case "lowPriorityCores":
		return q.Compute.LowPriorityCores
	}
	if v, set := q.Network[name]; set {
		return v
	}
	if v, set := q.Compute.Families[name]; set {
		return v
	}
	if slices.Contains(s.catalog.families(), name) {
		return q.Compute.Families["*"]
	}
	return -1
}

// count adds a resource's use of quotas, or takes it away.
func (s *Simulator) count(r *resource, sign int) {
	for name, n := range r.usage {
		s.world.used[quotaKey(r.target.subscription, r.location, name)] += sign * n
	}
}

// checkQuota refuses a write that would pass a limit. Azure answers 409 OperationNotAllowed for cores
// (karpenter-provider-azure#192), not QuotaExceeded.
func (c *call) checkQuota(next, old *resource) *apiError {
	if next.kind.usage == nil {
		return nil
	}
	want := next.kind.usage(c.sim, next)
	names := sortedKeys(want)
	if i := slices.Index(names, "cores"); i > 0 { // The regional quota is looked at first.
		names = append([]string{"cores"}, slices.Delete(names, i, i+1)...)
	}
	for _, name := range names {
		more := want[name]
		if old != nil {
			more -= old.usage[name]
		}
		limit := c.sim.quota(c.target.subscription, next.location, name)
		used := c.sim.world.used[quotaKey(c.target.subscription, next.location, name)]
		if more <= 0 || limit < 0 || used+more <= limit {
			continue
		}
		if next.kind.typ != typeVMName {
			if name == "PublicIPAddresses" || name == "StandardSkuPublicIpAddresses" {
				return badRequest("PublicIPCountLimitReached", "Cannot create more than %d public IP addresses for this subscription in this region.", limit)
			}
			return badRequest("ResourceQuotaExceeded", "Creating the resource of type '%s' would exceed the quota of '%d' resources of type '%s' in region %s.",
				next.kind.typ, limit, name, next.location)
		}
		label := name
		if name == "cores" {
			label = "Total Regional"
		}
		return conflict("OperationNotAllowed", "Operation could not be completed as it results in exceeding approved %s Cores quota. Additional details - "+
			"Deployment Model: Resource Manager, Location: %s, Current Limit: %d, Current Usage: %d, Additional Required: %d, (Minimum) New Limit "+
			"Required: %d. Setup Alerts when Quota reaches threshold. Submit a request for Quota increase at https://aka.ms/ProdportalCRP.",
			label, next.location, limit, used, more, used+more)
	}
	return nil
}

// usages are the quotas of a region with what is used.
func (c *call) usages() (*reply, *apiError) {
	location := normalLocation(c.target.names[0])
	if err := c.authorize(c.target.namespace+"/locations/usages/read", c.target.subscriptionID()); err != nil {
		return nil, err
	}
	if !c.sim.knowsLocation(c.target.subscription, location) {
		return nil, badRequest("LocationNotAvailableForResourceType", "The provided location '%s' is not available.", location)
	}
	compute := strings.EqualFold(c.target.namespace, "Microsoft.Compute")
	names := sortedKeys(c.sim.catalog.quota.Network)
	if compute {
		names = append([]string{"availabilitySets", "cores", "virtualMachines", "lowPriorityCores"}, c.sim.catalog.families()...)
	}
	list := []any{}
	for _, n := range names {
		o := object{
			"unit": "Count", "currentValue": c.sim.world.used[quotaKey(c.target.subscription, location, n)],
			"limit": c.sim.quota(c.target.subscription, location, n), "name": object{"value": n, "localizedValue": localized(n)},
		}
		if !compute {
			o["id"] = c.target.path + "/" + n
		}
		list = append(list, o)
	}
	return ok(object{"value": list}), nil
}

func localized(name string) string {
	switch name {
	case "cores":
		return "Total Regional vCPUs"
	case "virtualMachines":
		return "Virtual Machines"
	case "availabilitySets":
		return "Availability Sets"
	case "lowPriorityCores":
		return "Total Regional Spot vCPUs"
	}
	if strings.HasSuffix(name, "Family") {
		return strings.TrimSuffix(strings.TrimPrefix(name, "standard"), "Family") + " Family vCPUs"
	}
	return name
}

func parseInt(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
