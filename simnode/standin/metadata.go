// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The instance metadata service, https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service; the version
// is the one that cloud-provider-azure asks for.
const metadataURL = "http://169.254.169.254/metadata/instance?api-version=2021-02-01"

// Metadata is what the node manager takes from the instance metadata service.
type Metadata struct {
	Compute struct {
		Location    string `json:"location"`
		Zone        string `json:"zone"` // "" outside of zones
		FaultDomain string `json:"platformFaultDomain"`
		VMSize      string `json:"vmSize"`
		ResourceID  string `json:"resourceId"`
	} `json:"compute"`
	Network Network `json:"network"`
}

// Network is the machine's interfaces, the primary one first.
type Network struct {
	Interface []Interface `json:"interface"`
}

// Interface is one network interface.
type Interface struct {
	IPv4 struct {
		IPAddress []Address `json:"ipAddress"`
	} `json:"ipv4"`
}

// Address is one address of an interface.
type Address struct {
	Private string `json:"privateIpAddress"`
}

// metadataNetwork is a network of one address.
func metadataNetwork(address string) Network {
	var i Interface
	i.IPv4.IPAddress = []Address{{Private: address}}
	return Network{Interface: []Interface{i}}
}

// Address is the machine's first private address, "" when there is none.
func (m Metadata) Address() string {
	for _, i := range m.Network.Interface {
		for _, a := range i.IPv4.IPAddress {
			if a.Private != "" {
				return a.Private
			}
		}
	}
	return ""
}

// Region is the region in the spelling of labels.
func (m Metadata) Region() string { return strings.ToLower(m.Compute.Location) }

// Zone is the failure zone in the spelling of labels: REGION-N, or the fault domain where the region has no zones.
func (m Metadata) Zone() string {
	if m.Compute.Zone == "" {
		return m.Compute.FaultDomain
	}
	return m.Region() + "-" + m.Compute.Zone
}

// askMetadata asks the metadata service at url once.
func askMetadata(ctx context.Context, url string) (Metadata, error) {
	var m Metadata
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return m, fmt.Errorf("ask for metadata: %w", err)
	}
	request.Header.Set("Metadata", "true")
	// The service refuses requests that came through a proxy.
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return m, fmt.Errorf("ask for metadata: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return m, fmt.Errorf("ask for metadata: %s", response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(&m); err != nil {
		return m, fmt.Errorf("read metadata: %w", err)
	}
	return m, nil
}
