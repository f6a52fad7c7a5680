// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lazuli-dev/lazuli"
)

// Cluster holds the facts that manifests may use.
type Cluster struct {
	Name              string
	UID               string
	KubernetesVersion string // such as 1.36.3
	Endpoint          string // host name of the API server
	PodCIDR           string
	ServiceCIDR       string
	Location          string // Azure region
	TenantID          string
	SubscriptionID    string
	ResourceGroup     string
	VNet              string
	VNetResourceGroup string // "" is ResourceGroup
	WorkerSubnet      string
	WorkerNSG         string
	WorkerNSGGroup    string // resource group of WorkerNSG, "" is ResourceGroup
	RouteTable        string // "" where routes are not programmed
	LoadBalancerName  string // of Services, "" is ResourcePrefix
	// ResourcePrefix is the cluster's name as the cloud controller knows it: what
	// it creates is found by it.
	ResourcePrefix string
	// Tags are the user's; lazuli.ClusterTag is added to them.
	Tags map[string]string
	// CloudConfigSecret says that the Secret of CloudConfig is in the cluster.
	// Without it the cloud controller reads /etc/kubernetes/azure.json of its node.
	CloudConfigSecret bool
}

// AzureTags are the tags of everything that is made for the cluster.
func (c Cluster) AzureTags() map[string]string {
	tags := map[string]string{}
	maps.Copy(tags, c.Tags)
	tags[lazuli.ClusterTag] = c.UID
	return tags
}

// Release is what is applied to a cluster at once.
type Release struct {
	Name      string // unique in a profile
	Stage     Stage
	Layer     Layer
	Pack      string // name of the profile's layer
	Version   string // of the pack, "" for the user's manifests
	Documents []byte // YAML documents; custom resource definitions come first
}

// templateData is what a template sees.
type templateData struct {
	Values  map[string]any
	Cluster Cluster
	Pack    Pack
}

// Render turns a layer into releases, in the order of the stages. Manifests that
// a user attached to a layer pass through verbatim, in stage addon. Expressions
// ({{.spectro...) must be resolved before: see ResolveProfiles.
//
// Layers of type helm and oci are of no effect yet beyond their own manifests:
// Settings says so in a notice.
//
// Errors: lazuli.CodeInvalidField for a pack or values that do not work.
//
// What it returns is shared and must not be changed.
func (r *Registry) Render(l lazuli.Layer, c Cluster) ([]Release, error) {
	return r.rendered.of(func() ([]Release, error) { return r.render(l, c) }, l, c)
}

func (r *Registry) render(l lazuli.Layer, c Cluster) ([]Release, error) {
	var releases []Release
	switch layerType(l) {
	case TypeManifest, TypeHelm, TypeOCI:
	case TypeSpectro:
		var err error
		if releases, err = r.renderPack(l, c); err != nil {
			return nil, err
		}
	default:
		return nil, lazuli.Errorf(lazuli.CodeInvalidField, "layer %q is of the unknown type %q", l.Name, l.Type)
	}
	own, err := ownManifests(l)
	if err != nil {
		return nil, err
	}
	return append(releases, own...), nil
}

// RenderAll renders all layers of a cluster's profiles, sorted by stage and within
// a stage by layer. It fails where two layers give a release the same name, since
// one would then overwrite the other.
func (r *Registry) RenderAll(layers []lazuli.Layer, c Cluster) ([]Release, error) {
	var all []Release
	names := map[string]string{}
	for _, l := range layers {
		releases, err := r.Render(l, c)
		if err != nil {
			return nil, err
		}
		for _, rel := range releases {
			if other, ok := names[rel.Name]; ok {
				return nil, lazuli.Errorf(lazuli.CodeInvalidField, "layers %q and %q both install %s", other, l.Name, rel.Name)
			}
			names[rel.Name] = l.Name
		}
		all = append(all, releases...)
	}
	slices.SortStableFunc(all, func(a, b Release) int {
		return slices.Index(Stages(), a.Stage) - slices.Index(Stages(), b.Stage)
	})
	return all, nil
}

func (r *Registry) renderPack(l lazuli.Layer, c Cluster) ([]Release, error) {
	b, err := r.find(l.Name, l.Tag, l.PackUID)
	if err != nil {
		return nil, err
	}
	values, err := b.values(l)
	if err != nil {
		return nil, err
	}
	data := templateData{Values: values, Cluster: c, Pack: b.clone()}
	var releases []Release
	for _, stage := range Stages() {
		for _, m := range b.manifests {
			if m.stage != stage {
				continue
			}
			docs, err := execute(m.tmpl, data)
			if err != nil {
				return nil, &lazuli.Error{Code: lazuli.CodeInvalidField, Message: "render pack " + l.Name, Err: err}
			}
			name := releaseName(l.Name, b.Name, m.release)
			i := slices.IndexFunc(releases, func(r Release) bool { return r.Name == name })
			if i < 0 {
				releases = append(releases, Release{Name: name, Stage: stage, Layer: b.Layer, Pack: l.Name, Version: b.Version})
				i = len(releases) - 1
			}
			releases[i].Documents = joinDocuments(releases[i].Documents, docs)
		}
	}
	return releases, nil
}

// releaseName keeps releases apart where a profile holds a pack twice.
func releaseName(layer, pack, release string) string {
	if layer == pack || layer == "" {
		return release
	}
	return strings.TrimSuffix(layer, pack) + release
}

// values are the pack's with the layer's laid over them.
func (b bundle) values(l lazuli.Layer) (map[string]any, error) {
	if unresolved(l.Values) {
		return nil, lazuli.Errorf(lazuli.CodeInvalidField,
			"values of layer %q contain an expression ({{.spectro...) that was not resolved", l.Name)
	}
	values, err := MergeValues(b.Values, l.Values)
	if err != nil {
		return nil, &lazuli.Error{Code: lazuli.CodeInvalidField, Message: fmt.Sprintf("values of layer %q", l.Name), Err: err}
	}
	return values, nil
}

// hasMacro finds what may be an expression.
func hasMacro(text string) bool {
	return strings.Contains(text, openMark) && strings.Contains(text, ".spectro.")
}

// unresolved reports whether a text has expressions left.
func unresolved(text string) bool {
	if !hasMacro(text) {
		return false
	}
	actions, err := findActions(text)
	return err != nil || len(actions) > 0
}

func ownManifests(l lazuli.Layer) ([]Release, error) {
	var docs []byte
	for _, m := range l.Manifests {
		err := checkManifest(m.Content)
		if unresolved(m.Content) {
			err = errUnresolved
		}
		if err != nil {
			return nil, &lazuli.Error{
				Code: lazuli.CodeInvalidField, Message: fmt.Sprintf("manifest %q of layer %q", m.Name, l.Name), Err: err,
			}
		}
		docs = joinDocuments(docs, []byte(m.Content))
	}
	if len(docs) == 0 {
		return nil, nil
	}
	return []Release{{Name: l.Name + "-manifests", Stage: StageAddon, Layer: LayerAddon, Pack: l.Name, Documents: docs}}, nil
}

// checkManifest tells documents that an API server could take from others.
func checkManifest(content string) error {
	nodes, err := parseNodes(content)
	if err != nil {
		return err
	}
	for i, n := range nodes {
		if n.Kind == yaml.DocumentNode && len(n.Content) == 1 && n.Content[0].Tag == "!!null" {
			continue // between two separators stands nothing
		}
		var doc struct {
			APIVersion string    `yaml:"apiVersion"`
			Kind       string    `yaml:"kind"`
			Metadata   yaml.Node `yaml:"metadata"`
		}
		if err := n.Decode(&doc); err != nil {
			return fmt.Errorf("document %d is not a Kubernetes object: %w", i+1, err)
		}
		if doc.APIVersion == "" || doc.Kind == "" {
			return fmt.Errorf("document %d: %w", i+1, errNoKind)
		}
	}
	return nil
}

var (
	errNoKind     = errors.New("apiVersion and kind are required")
	errUnresolved = errors.New("contains an expression ({{.spectro...) that was not resolved")
)

// joinDocuments puts a separator between two YAML streams.
func joinDocuments(a, b []byte) []byte {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return a
	}
	if len(a) > 0 && !bytes.HasPrefix(b, []byte("---")) {
		a = append(a, "---\n"...)
	}
	return append(append(a, b...), '\n')
}
