// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed data/regions.json data/sizes.json data/quota.json
var catalogData embed.FS

// region is an Azure region. Zones is empty where there are none.
type region struct {
	Name        string   `json:"name"`
	DisplayName string   `json:"displayName"`
	Geography   string   `json:"geography"`
	Paired      string   `json:"paired"`
	Zones       []string `json:"zones"`
}

// restriction is why a size is listed but not sold to a subscription.
type restriction struct {
	Location   string   `json:"location"`
	Type       string   `json:"type"` // Location or Zone
	ReasonCode string   `json:"reasonCode"`
	Zones      []string `json:"zones"`
}

// vmSize is a size of virtual machine as Microsoft.Compute/skus tells it.
type vmSize struct {
	Name         string              `json:"name"`
	Family       string              `json:"family"`
	Size         string              `json:"size"`
	Tier         string              `json:"tier"`
	Capabilities map[string]string   `json:"capabilities"`
	Zones        map[string][]string `json:"zones"`  // where they are fewer than the region's
	Absent       []string            `json:"absent"` // regions that do not know it
	Restrictions []restriction       `json:"restrictions"`
}

type quotaTable struct {
	Compute struct {
		AvailabilitySets int            `json:"availabilitySets"`
		Cores            int            `json:"cores"`
		VirtualMachines  int            `json:"virtualMachines"`
		LowPriorityCores int            `json:"lowPriorityCores"`
		Families         map[string]int `json:"families"`
	} `json:"compute"`
	Network map[string]int `json:"network"`
}

type catalog struct {
	regions []region
	sizes   []vmSize
	quota   quotaTable
}

func loadCatalog() (*catalog, error) {
	c := &catalog{}
	for _, f := range []struct {
		name string
		into any
	}{{"regions", &c.regions}, {"sizes", &c.sizes}, {"quota", &c.quota}} {
		raw, err := catalogData.ReadFile("data/" + f.name + ".json")
		if err != nil {
			return nil, fmt.Errorf("read catalog: %w", err)
		}
		if err := json.Unmarshal(raw, f.into); err != nil {
			return nil, fmt.Errorf("read catalog %s: %w", f.name, err)
		}
	}
	return c, nil
}

// region finds a region by name, or by display name, as ARM does ("West Europe" is "westeurope").
func (c *catalog) region(name string) (region, bool) {
	name = normalLocation(name)
	i := slices.IndexFunc(c.regions, func(r region) bool { return r.Name == name })
	if i < 0 {
		return region{}, false
	}
	return c.regions[i], true
}

func normalLocation(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, " ", ""))
}

// size finds a size in a region; false when the region does not know it.
func (c *catalog) size(name, location string) (vmSize, bool) {
	i := slices.IndexFunc(c.sizes, func(v vmSize) bool { return strings.EqualFold(v.Name, name) })
	if i < 0 || slices.Contains(c.sizes[i].Absent, location) {
		return vmSize{}, false
	}
	return c.sizes[i], true
}

// zones are those of the region that have the size.
func (v vmSize) zones(r region) []string {
	if z, ok := v.Zones[r.Name]; ok {
		return z
	}
	return r.Zones
}

// restricted says whether the size is refused in the region, or in the zone when one is asked for.
func (v vmSize) restricted(location, zone string) bool {
	return slices.ContainsFunc(v.Restrictions, func(x restriction) bool {
		return x.Location == location && (x.Type == "Location" || zone != "" && slices.Contains(x.Zones, zone))
	})
}

func (v vmSize) capability(name string) string { return v.Capabilities[name] }

func (v vmSize) has(name string) bool { return strings.EqualFold(v.Capabilities[name], "true") }

func (v vmSize) vcpus() int {
	n, err := strconv.Atoi(v.Capabilities["vCPUs"])
	if err != nil {
		return 0
	}
	return n
}

func (v vmSize) memory() float64 {
	n, err := strconv.ParseFloat(v.Capabilities["MemoryGB"], 64)
	if err != nil {
		return 0
	}
	return n
}

func (v vmSize) dataDisks() int {
	n, err := strconv.Atoi(v.Capabilities["MaxDataDiskCount"])
	if err != nil {
		return 0
	}
	return n
}
