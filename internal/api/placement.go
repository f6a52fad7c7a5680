// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// What kubeadm asks of a control-plane machine (kubeadm, preflight checks:
// NumCPU, Mem).
const (
	minControlPlaneCPUs     = 2
	minControlPlaneMemoryGB = 1.7
)

// place asks Azure about the place of a cluster and adds what speaks against
// it. unasked is why Azure could not be asked, err an answer that concerns the
// account as a whole.
func (a *API) place(
	ctx context.Context, f *findings, s *palette.AzureClusterSpec, acc *lazuli.Account,
) (unasked, err error) {
	return a.placeWith(ctx, f, s, acc, clusterAddresses)
}

// placeWith is place for what gets so many public addresses.
func (a *API) placeWith(
	ctx context.Context, f *findings, s *palette.AzureClusterSpec, acc *lazuli.Account, addresses int,
) (unasked, err error) {
	secret, err := a.secretOf(acc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, proberTimeout)
	defer cancel()
	p, err := a.Prober.Placement(ctx, AzureCredentials{
		Environment: acc.Environment, TenantID: acc.TenantID, ClientID: acc.ClientID,
		ClientSecret: secret, SubscriptionID: s.CloudConfig.SubscriptionID,
	}, s.CloudConfig.Location, s.CloudConfig.ResourceGroup)
	switch {
	case err == nil:
		checkPlacement(f, s, &p, addresses)
		return nil, missing(f, &p)
	case noAnswer(err):
		return asProbeError(err), nil
	default:
		return nil, accountFault(err)
	}
}

// accountFault points an error of the account at the field that chose it.
func accountFault(err error) error {
	e, ok := errors.AsType[*lazuli.Error](err)
	if !ok {
		return fmt.Errorf("ask Azure about the place: %w", err)
	}
	out := *e
	out.Fields = append(lazuli.Fields{{Path: "spec.cloudAccountUid", Message: e.Message}}, e.Fields...)
	return &out
}

// missing is the error of permissions that the principal lacks, unless the
// request has other faults, which then come first.
func missing(f *findings, p *Placement) error {
	if len(p.Missing) == 0 || len(f.faults) > 0 {
		return nil
	}
	text := "the account's principal lacks permissions in the resource group: " + strings.Join(p.Missing, ", ")
	return &lazuli.Error{
		Code: lazuli.CodeAzurePermission, Message: text,
		Fields: lazuli.Fields{{Path: "spec.cloudAccountUid", Message: text}},
	}
}

func checkPlacement(f *findings, s *palette.AzureClusterSpec, p *Placement, addresses int) {
	const path = "spec.cloudConfig."
	c := s.CloudConfig
	if !p.SubscriptionFound {
		f.fault(path+"subscriptionId", "the account sees no subscription %s", c.SubscriptionID)
		return
	}
	if !p.GroupFound {
		f.fault(path+"resourceGroup", "the subscription has no resource group %q; it must exist", c.ResourceGroup)
	}
	if len(p.Locations) > 0 && !slices.Contains(p.Locations, c.Location) {
		f.fault(path+"location", "the subscription has no region %q%s", c.Location, hint(c.Location, p.Locations))
		return
	}
	for i := range s.MachinePoolConfig {
		if pool := &s.MachinePoolConfig[i]; pool.CloudConfig != nil && pool.PoolConfig != nil {
			checkPoolPlacement(f, fmt.Sprintf("spec.machinepoolconfig[%d].cloudConfig.", i), pool, p, c.Location)
		}
	}
	checkQuotas(f, s, p, addresses)
}

// hint names a value that may have been meant.
func hint(wrong string, known []string) string {
	clean := func(s string) string {
		return strings.NewReplacer(" ", "", "-", "", "_", "").Replace(lazuli.Fold(s))
	}
	for _, k := range known {
		if clean(k) == clean(wrong) {
			return "; " + k + " may be meant"
		}
	}
	return ""
}

func checkPoolPlacement(
	f *findings, at string, pool *palette.AzureMachinePoolConfigEntity, p *Placement, location string,
) {
	c := pool.CloudConfig
	disk := ""
	if c.OSDisk != nil && c.OSDisk.ManagedDisk != nil {
		disk = c.OSDisk.ManagedDisk.StorageAccountType
	}
	if disk != "" && len(p.DiskTypes) > 0 && !slices.Contains(p.DiskTypes, disk) {
		f.fault(at+"osDisk.managedDisk.storageAccountType", "%s has no disks of type %q; it has %s",
			location, disk, strings.Join(p.DiskTypes, ", "))
	}
	if len(p.Sizes) == 0 {
		return
	}
	size, ok := p.Sizes[c.InstanceType]
	switch {
	case !ok:
		f.fault(at+"instanceType", "%s does not sell the size %q%s", location, c.InstanceType, hint(c.InstanceType, sortedKeys(p.Sizes)))
		return
	case size.Restricted:
		f.fault(at+"instanceType", "the subscription cannot have %s in %s: %s", c.InstanceType, location, orElse(size.Reason, "restricted"))
		return
	case strings.HasPrefix(disk, "Premium") && !size.PremiumIO:
		f.fault(at+"osDisk.managedDisk.storageAccountType", "%s takes no premium disks", c.InstanceType)
	}
	checkZones(f, at, c, size, p.Zones, location)
	if m := pool.PoolConfig.MachinePoolProperties; m != nil && m.ArchType != "" && size.Arch != "" && m.ArchType != size.Arch {
		f.fault(strings.TrimSuffix(at, "cloudConfig.")+"poolConfig.machinePoolProperties.archType",
			"%s is of architecture %s, not %s", c.InstanceType, size.Arch, shorten(m.ArchType))
	}
	if pool.PoolConfig.IsControlPlane {
		checkControlPlaneSize(f, at, c.InstanceType, size)
	}
}

// checkControlPlaneSize wants what kubeadm checks, and a premium disk for etcd,
// whose writes wait for the disk.
func checkControlPlaneSize(f *findings, at, name string, size SizeInfo) {
	if size.VCPUs > 0 && size.VCPUs < minControlPlaneCPUs {
		f.fault(at+"instanceType", "%s has %d CPU; a control plane needs %d", name, size.VCPUs, minControlPlaneCPUs)
	}
	if size.MemoryGB > 0 && size.MemoryGB < minControlPlaneMemoryGB {
		f.fault(at+"instanceType", "%s has %g GB of memory; a control plane needs %g", name, size.MemoryGB, minControlPlaneMemoryGB)
	}
	if !size.PremiumIO {
		f.fault(at+"instanceType", "%s takes no premium disks, and etcd needs one; choose a size with an s, such as Standard_D4s_v5", name)
	}
}

// checkZones takes the zones of a request for those that are allowed: machines go
// to the zones among them that sell the size, and it is a finding when these are
// not all, a fault when there is none of them in a region that has zones.
func checkZones(
	f *findings, at string, c *palette.AzureMachinePoolCloudConfig, size SizeInfo, zones []string, location string,
) {
	if len(c.AZs) > 0 && len(zones) == 0 {
		f.warnings.Add(at+"azs", "%s has no availability zones: the machines are placed without", location)
		return
	}
	say := f.fault
	if slices.ContainsFunc(c.AZs, func(z string) bool { return slices.Contains(size.Zones, z) }) {
		say = f.warnings.Add
	}
	for j, z := range c.AZs {
		path := fmt.Sprintf("%sazs[%d]", at, j)
		switch {
		case !slices.Contains(zones, z):
			say(path, "%s has no zone %q; it has %s", location, shorten(z), strings.Join(zones, ", "))
		case !slices.Contains(size.Zones, z):
			say(path, "zone %s of %s does not sell %s; %s", z, location, c.InstanceType, soldIn(size.Zones))
		}
	}
}

func soldIn(zones []string) string {
	if len(zones) == 0 {
		return "no zone does"
	}
	return "zones " + strings.Join(zones, ", ") + " do"
}
