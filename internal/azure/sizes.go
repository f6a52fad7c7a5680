// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"golang.org/x/sync/singleflight"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const (
	sizesFor       = 10 * time.Minute
	maxCachedSizes = 256
	sizesTimeout   = 2 * time.Minute // of the whole list
)

// Sizes is what a region sells to a subscription. Its slices are shared: do not change them.
type Sizes struct {
	Location string
	Sizes    []Size     // of VMs, sorted by name
	Disks    []DiskType // sorted by name
	At       time.Time  // when Azure said so
}

// Size is a size of VMs. A size that Restricted excludes altogether has no Zones.
type Size struct {
	Name                  string // Standard_D4s_v5
	Family                string // the name of its quota of cores: standardDSv5Family
	VCPUs                 int
	MemoryGB              float64
	Zones                 []string // where it is sold to this subscription, sorted; none in a region without zones
	Generations           []string // V1, V2: those of Hyper-V that it boots
	Arch                  string   // x64, Arm64
	PremiumIO             bool     // takes Premium disks
	MaxDataDisks          int
	DiskControllers       []string // SCSI, NVMe; Azure says nothing of old sizes, which are SCSI
	AcceleratedNetworking bool
	Restricted            bool   // not sold to this subscription in this region at all
	Restriction           string // why, of the region or of the zones left out: NotAvailableForSubscription, QuotaId
}

// DiskType is a type of managed disks.
type DiskType struct {
	Name  string   // Premium_LRS
	Zones []string // where it is sold, sorted; none in a region without zones
}

// Size returns the size of that name, without regard to case.
func (s Sizes) Size(name string) (Size, bool) {
	for _, z := range s.Sizes {
		if strings.EqualFold(z.Name, name) {
			return z, true
		}
	}
	return Size{}, false
}

type sizeKey struct {
	principal              principalKey
	subscription, location string
}

type sizeEntry struct {
	sizes Sizes
	until time.Time
}

// sizeCache keeps answers per principal, too: who may not read the
// subscription does not get what another could.
type sizeCache struct {
	mu      sync.Mutex
	entries map[sizeKey]sizeEntry
	flights *singleflight.Group
}

// Sizes returns the VM sizes and disk types that t.Location sells to the
// subscription. The answer is kept for ten minutes, and asked for once however
// many want it.
func (c *Client) Sizes(ctx context.Context, t resource.Target) (Sizes, error) {
	act := fmt.Sprintf("list the VM sizes of %q", t.Location)
	key := sizeKey{principal: keyOf(t), subscription: t.SubscriptionID, location: strings.ToLower(t.Location)}
	if s, ok := c.cache.get(key, c.cfg.Now()); ok {
		return s, nil
	}
	// One caller's patience must not end the others' question.
	flight := c.cache.flights.DoChan(fmt.Sprintf("%v", key), func() (any, error) {
		shared, cancel := context.WithTimeout(context.WithoutCancel(ctx), sizesTimeout)
		defer cancel()
		s, err := c.fetchSizes(shared, t)
		if err != nil {
			return nil, err
		}
		c.cache.put(key, s, c.cfg.Now())
		return s, nil
	})
	select {
	case <-ctx.Done():
		return Sizes{}, explain(act, t.ClientSecret, ctx.Err())
	case got := <-flight:
		if got.Err != nil {
			return Sizes{}, explain(act, t.ClientSecret, got.Err)
		}
		s, ok := got.Val.(Sizes)
		if !ok {
			return Sizes{}, lazuli.Errorf(lazuli.CodeInternal, "%s: the shared answer is a %T", act, got.Val)
		}
		return s, nil
	}
}

func (s *sizeCache) get(key sizeKey, now time.Time) (Sizes, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[key]; ok && now.Before(e.until) {
		return e.sizes, true
	}
	return Sizes{}, false
}

func (s *sizeCache) put(key sizeKey, v Sizes, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.entries {
		if !now.Before(e.until) || len(s.entries) >= maxCachedSizes {
			delete(s.entries, k)
		}
	}
	s.entries[key] = sizeEntry{sizes: v, until: now.Add(sizesFor)}
}

func (c *Client) fetchSizes(ctx context.Context, t resource.Target) (Sizes, error) {
	set, err := c.clientsOf(t)
	if err != nil {
		return Sizes{}, err
	}
	out := Sizes{Location: t.Location, At: c.cfg.Now()}
	disks := map[string]DiskType{}
	pager := set.skus.NewListPager(&armcompute.ResourceSKUsClientListOptions{
		Filter: new("location eq '" + quoted(t.Location) + "'"), // the only filter there is
	})
	err = pages(with(ctx, t, ClassRead), pager, func(p armcompute.ResourceSKUsClientListResponse) int {
		for _, k := range p.Value {
			if k == nil || !soldIn(k, t.Location) {
				continue
			}
			switch strings.ToLower(text(k.ResourceType)) {
			case "virtualmachines":
				out.Sizes = append(out.Sizes, sizeOf(k, t.Location))
			case "disks": // one row per capacity; the name is the type
				d := DiskType{Name: text(k.Name), Zones: zonesOf(k, t.Location)}
				if _, known := disks[d.Name]; !known {
					disks[d.Name] = d
				}
			}
		}
		return len(p.Value)
	})
	if err != nil {
		return Sizes{}, err
	}
	for _, d := range disks {
		out.Disks = append(out.Disks, d)
	}
	slices.SortFunc(out.Disks, func(a, b DiskType) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Sizes, func(a, b Size) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func soldIn(k *armcompute.ResourceSKU, location string) bool {
	return slices.ContainsFunc(texts(k.Locations), func(l string) bool { return sameLocation(l, location) })
}

// sizeOf reads a row of Microsoft.Compute/skus (API version 2021-07-01).
func sizeOf(k *armcompute.ResourceSKU, location string) Size {
	s := Size{
		Name: text(k.Name), Family: text(k.Family), Arch: "x64",
		Generations: []string{"V1"}, DiskControllers: []string{"SCSI"},
		Zones: zonesOf(k, location),
	}
	for _, c := range k.Capabilities {
		if c == nil {
			continue
		}
		v := text(c.Value)
		switch text(c.Name) {
		case "vCPUs":
			s.VCPUs = integer(v)
		case "MemoryGB":
			if f, err := strconv.ParseFloat(v, 64); err == nil {
				s.MemoryGB = f
			}
		case "HyperVGenerations":
			s.Generations = parts(v)
		case "CpuArchitectureType":
			s.Arch = v
		case "PremiumIO":
			s.PremiumIO = strings.EqualFold(v, "true")
		case "MaxDataDiskCount":
			s.MaxDataDisks = integer(v)
		case "DiskControllerTypes":
			s.DiskControllers = parts(v)
		case "AcceleratedNetworkingEnabled":
			s.AcceleratedNetworking = strings.EqualFold(v, "true")
		}
	}
	for _, r := range k.Restrictions {
		if r == nil || !concerns(r, location) {
			continue
		}
		s.Restriction = text(r.ReasonCode)
		if text(r.Type) == string(armcompute.ResourceSKURestrictionsTypeLocation) {
			s.Restricted, s.Zones = true, nil
		}
	}
	return s
}

// zonesOf returns the zones that sell the SKU, without the restricted ones.
func zonesOf(k *armcompute.ResourceSKU, location string) []string {
	var zones []string
	for _, i := range k.LocationInfo {
		if i != nil && sameLocation(text(i.Location), location) {
			zones = append(zones, texts(i.Zones)...)
		}
	}
	for _, r := range k.Restrictions {
		if r == nil || r.RestrictionInfo == nil || !concerns(r, location) {
			continue
		}
		closed := texts(r.RestrictionInfo.Zones)
		zones = slices.DeleteFunc(zones, func(z string) bool { return slices.Contains(closed, z) })
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

// concerns reports whether a restriction is about the region.
func concerns(r *armcompute.ResourceSKURestrictions, location string) bool {
	where := texts(r.Values)
	if r.RestrictionInfo != nil {
		where = append(where, texts(r.RestrictionInfo.Locations)...)
	}
	return slices.ContainsFunc(where, func(l string) bool { return sameLocation(l, location) })
}

func parts(v string) []string {
	var out []string
	for p := range strings.SplitSeq(v, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

func integer(v string) int {
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0
	}
	return n
}
