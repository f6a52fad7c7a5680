// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lazuli-dev/lazuli"
)

// maxBytes bounds one file: manifests are written by people.
const maxBytes = 4 << 20

// Parse reads all documents of a file. source names it in messages. lookup
// gives the value of an environment variable; a variable without a value is a
// finding. All findings of all documents come back as one error of
// lazuli.CodeInvalidField, each with "file:line: path".
func Parse(source string, data []byte, lookup func(string) string) ([]Document, error) {
	if len(data) > maxBytes {
		return nil, lazuli.Errorf(lazuli.CodeInvalidField, "%s: larger than %d MiB", source, maxBytes>>20)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var docs []Document
	var findings lazuli.Fields
	for {
		var root yaml.Node
		err := dec.Decode(&root)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			findings.Add(source, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
			break
		}
		if len(root.Content) == 0 || root.Content[0].Tag == "!!null" {
			continue // an empty document between two separators
		}
		if d, ok := parseDocument(source, root.Content[0], lookup, &findings); ok {
			docs = append(docs, d)
		}
	}
	if len(docs) == 0 && len(findings) == 0 {
		findings.Add(source, "holds no document")
	}
	return docs, findings.Err()
}

// parseDocument reads one document; it is not ok without a usable kind.
func parseDocument(source string, n *yaml.Node, lookup func(string) string, findings *lazuli.Fields) (Document, bool) {
	r := &reader{source: source, lookup: lookup, findings: findings, lines: map[string]int{}}
	d := Document{Source: source, Line: n.Line, lines: r.lines}
	spec := &yaml.Node{Kind: yaml.MappingNode, Line: n.Line}
	var apiVersion string
	r.eachKey(n, "", func(key string, value *yaml.Node) {
		switch key {
		case "apiVersion":
			r.decodeText(value, key, &apiVersion)
		case "kind":
			r.decodeText(value, key, &d.Kind)
		case "metadata":
			var m struct {
				Name string `yaml:"name"`
			}
			r.decode(value, key, &m)
			d.Name = m.Name
		case "spec":
			spec = value
		default:
			r.add(value.Line, key, "unknown field; known are apiVersion, kind, metadata, spec")
		}
	})
	if apiVersion != APIVersion {
		r.add(r.line("apiVersion", n.Line), "apiVersion", "%q must be %s", apiVersion, APIVersion)
	}
	if d.Name == "" {
		r.add(r.line("metadata", n.Line), "metadata.name", "is required")
	} else if !lazuli.ValidName(d.Name) {
		r.add(r.line("metadata.name", n.Line), "metadata.name",
			"%q must be lower-case letters, digits and hyphens, at most %d characters", d.Name, lazuli.MaxNameLength)
	}
	switch d.Kind {
	case KindCloudAccount:
		d.Account = &CloudAccount{}
		r.decode(spec, "spec", d.Account)
		r.checkAccount(d.Account)
	case KindClusterProfile:
		d.Profile = &ClusterProfile{Type: DefaultProfileType, Version: DefaultProfileVersion}
		r.decode(spec, "spec", d.Profile)
		r.checkProfile(d.Profile)
	case KindCluster:
		d.Cluster = &Cluster{}
		r.decode(spec, "spec", d.Cluster)
		d.Cluster.Normalize()
		r.checkCluster(d.Cluster)
	default:
		r.add(r.line("kind", n.Line), "kind", "%q is none of %s, %s, %s",
			d.Kind, KindCloudAccount, KindClusterProfile, KindCluster)
		return d, false
	}
	return d, true
}

// required reports empty fields, in this order.
func (r *reader) required(pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			r.addAt("spec."+pairs[i], "is required")
		}
	}
}

func (r *reader) checkAccount(a *CloudAccount) {
	r.required("tenantId", a.TenantID, "clientId", a.ClientID)
	if a.ClientSecret.Empty() {
		r.addAt("spec.clientSecret", "is required")
	}
}

func (r *reader) checkProfile(p *ClusterProfile) {
	if types := []string{"cluster", "infra", "add-on"}; !slices.Contains(types, p.Type) {
		r.addAt("spec.type", "%q is none of %s", p.Type, strings.Join(types, ", "))
	}
	if len(p.Packs) == 0 {
		r.addAt("spec.packs", "at least one pack is required")
	}
	seen := map[string]bool{}
	for i, pack := range p.Packs {
		path := fmt.Sprintf("spec.packs[%d]", i)
		if pack.Name == "" {
			r.addAt(path+".name", "is required")
		} else if seen[pack.Name] {
			r.addAt(path+".name", "%q is already a layer of this profile", pack.Name)
		}
		seen[pack.Name] = true
		if pack.Tag == "" {
			r.addAt(path+".tag", "is required: the version of the pack, such as 1.36.x")
		}
	}
}

func (r *reader) checkCluster(c *Cluster) {
	r.required("account", c.Account, "subscriptionId", c.SubscriptionID,
		"resourceGroup", c.ResourceGroup, "location", c.Location)
	if len(c.Profiles) == 0 {
		r.addAt("spec.profiles", "at least one profile is required")
	}
	if (c.SSHKey == "") == (c.SSHKeyFile == "") {
		r.addAt("spec.sshKey", "exactly one of sshKey and sshKeyFile is required")
	}
	if n := *c.ControlPlane.Size; n != 1 && n != 3 && n != 5 {
		r.addAt("spec.controlPlane.size", "%d must be 1, 3 or 5, so that etcd has a majority to lose", n)
	}
	if c.ControlPlane.DiskSizeGB < 0 {
		r.addAt("spec.controlPlane.diskSizeGB", "must not be negative")
	}
	seen := map[string]bool{ControlPlanePool: true}
	for i, w := range c.Workers {
		path := fmt.Sprintf("spec.workers[%d]", i)
		switch {
		case !lazuli.ValidPoolName(w.Name):
			r.addAt(path+".name", "%q must be a letter, then lower-case letters, digits and hyphens, at most %d characters",
				w.Name, lazuli.MaxPoolNameLength)
		case w.Name == ControlPlanePool:
			r.addAt(path+".name", "%q is the name of the control-plane pool", w.Name)
		case seen[w.Name]:
			r.addAt(path+".name", "%q is already a pool of this cluster", w.Name)
		}
		seen[w.Name] = true
		if *w.Size < 1 {
			r.addAt(path+".size", "%d must be 1 or more; leave a pool without machines out", *w.Size)
		}
		if w.DiskSizeGB < 0 {
			r.addAt(path+".diskSizeGB", "must not be negative")
		}
		for j, t := range w.Taints {
			r.checkTaint(fmt.Sprintf("%s.taints[%d]", path, j), t)
		}
	}
}

func (r *reader) checkTaint(path string, t Taint) {
	if t.Key == "" {
		r.addAt(path+".key", "is required")
	}
	if effects := []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}; !slices.Contains(effects, t.Effect) {
		r.addAt(path+".effect", "%q is none of %s", t.Effect, strings.Join(effects, ", "))
	}
}
