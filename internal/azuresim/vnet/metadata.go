// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// apiVersions are those of the metadata service that clients are known to ask for (learn.microsoft.com, "Azure Instance
// Metadata Service").
var apiVersions = []string{"2019-06-01", "2020-06-01", "2021-01-01", "2021-02-01", "2021-03-01", "2021-08-01", "2021-12-13", "2023-07-01", "2023-11-15", "2025-04-07"}

type object = map[string]any

// metadataHandler is the instance metadata service. Who asks is known by the source address.
func metadataHandler(bySource func(netip.Addr) (Port, bool)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, known := bySource(sourceOf(r.RemoteAddr))
		path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		q := r.URL.Query()
		version := q.Get("api-version")
		switch {
		case !known:
			metadataError(w, http.StatusNotFound, "Not found")
		case !strings.EqualFold(r.Header.Get("Metadata"), "true") || r.Header.Get("X-Forwarded-For") != "":
			metadataError(w, http.StatusBadRequest, "Bad request. 'Metadata: true' header was not specified.")
		case r.Method != http.MethodGet:
			metadataError(w, http.StatusMethodNotAllowed, "Method not allowed")
		case slices.Equal(path, []string{"metadata", "versions"}):
			writeJSON(w, http.StatusOK, object{"apiVersions": apiVersions})
		case len(path) < 2 || path[0] != "metadata" || path[1] != "instance":
			metadataError(w, http.StatusNotFound, "Not found")
		case !slices.Contains(apiVersions, version):
			said := "Bad request. api-version was not specified in the request."
			if version != "" {
				said = "Bad request. api-version is invalid or not supported."
			}
			newest := slices.Clone(apiVersions[len(apiVersions)-3:])
			slices.Reverse(newest)
			writeJSON(w, http.StatusBadRequest, object{"error": said, "newest-versions": newest})
		default:
			writeNode(w, instanceOf(p, q.Get("extended") == "true"), path[2:], q.Get("format"))
		}
	})
}

// writeNode writes the part of a document that a path names.
func writeNode(w http.ResponseWriter, node any, path []string, format string) {
	for _, step := range path {
		switch v := node.(type) {
		case object:
			node = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				node = nil
				break
			}
			node = v[i]
		default:
			node = nil
		}
		if node == nil {
			metadataError(w, http.StatusNotFound, "Not found")
			return
		}
	}
	leaf, is := node.(string)
	switch {
	case format == "text" && is:
		writeText(w, leaf)
	case format == "text":
		writeText(w, strings.Join(entries(node), "\n"))
	case is: // A leaf has no JSON, as in Azure.
		metadataError(w, http.StatusNotFound, "Not found")
	default:
		writeJSON(w, http.StatusOK, node)
	}
}

// entries lists a folder of the document.
func entries(node any) []string {
	var out []string
	name := func(key string, v any) string {
		if _, leaf := v.(string); leaf {
			return key
		}
		return key + "/"
	}
	switch v := node.(type) {
	case object:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out = append(out, name(key, v[key]))
		}
	case []any:
		for i, e := range v {
			out = append(out, name(strconv.Itoa(i), e))
		}
	}
	return out
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, text)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) //nolint:errchkjson // plain values; the guest may have gone
}

func metadataError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, object{"error": text})
}

// instanceOf is what the metadata service knows of a machine. All leaves are strings, as in Azure.
func instanceOf(p Port, extended bool) object {
	m := p.Machine
	var keys, tagsList []any
	for _, k := range m.SSHKeys {
		keys = append(keys, object{"keyData": k, "path": "/home/" + m.AdminUser + "/.ssh/authorized_keys"})
	}
	var tags []string
	for _, k := range slices.Sorted(maps.Keys(m.Tags)) {
		tags = append(tags, k+":"+m.Tags[k])
		tagsList = append(tagsList, object{"name": k, "value": m.Tags[k]})
	}
	image := strings.Split(m.Image, ":") // publisher:offer:sku:version of the marketplace's
	if len(image) != 4 || strings.HasPrefix(m.Image, "/") {
		image = make([]string, 4) // Another image has none of them, as in Azure.
	}
	out := object{
		"compute": object{
			"azEnvironment": "AzurePublicCloud", "customData": "", "evictionPolicy": "", "isHostCompatibilityLayerVm": "false", "licenseType": "",
			"location": m.Location, "name": m.Name, "offer": image[1], "osType": "Linux",
			"osProfile": object{
				"adminUsername": m.AdminUser, "computerName": computerName(m), "disablePasswordAuthentication": "true",
			},
			"placementGroupId": "", "platformFaultDomain": "0", "platformUpdateDomain": "0", "priority": "", "provider": "Microsoft.Compute",
			"publicKeys": list(keys), "publisher": image[0], "resourceGroupName": m.ResourceGroup, "resourceId": m.ID, "sku": image[2],
			"subscriptionId": m.SubscriptionID, "tags": strings.Join(tags, ";"), "tagsList": list(tagsList), "userData": "", "version": image[3],
			"vmId": p.Machine.VMID, "vmScaleSetName": "", "vmSize": m.Size, "zone": m.Zone,
		},
		"network": object{"interface": []any{object{
			"ipv4": object{
				"ipAddress": []any{object{"privateIpAddress": p.At.Address.String(), "publicIpAddress": ""}},
				"subnet":    []any{object{"address": p.At.Subnet.Masked().Addr().String(), "prefix": strconv.Itoa(p.At.Subnet.Bits())}},
			},
			"ipv6":       object{"ipAddress": []any{}},
			"macAddress": strings.ToUpper(strings.NewReplacer(":", "", "-", "").Replace(p.At.MAC)),
		}}},
	}
	if extended {
		out["extended"] = object{"compute": object{"hasCustomData": strconv.FormatBool(len(m.CustomData) > 0), "ppsType": "None"}}
	}
	return out
}

// list is never null in JSON.
func list(v []any) []any {
	if v == nil {
		return []any{}
	}
	return v
}
