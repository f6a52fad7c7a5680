// SPDX-License-Identifier: Apache-2.0

package pack_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func builtin(t testing.TB) *pack.Registry {
	t.Helper()
	r, err := pack.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sample() pack.Cluster {
	return pack.Cluster{
		Name: "orchid", UID: "6560f5c0a1b2c3d4e5f60718", KubernetesVersion: "1.36.6", Endpoint: "orchid-f60718.westeurope.cloudapp.azure.com",
		PodCIDR: "192.168.0.0/16", ServiceCIDR: "10.96.0.0/12", Location: "westeurope",
		TenantID: "11111111-1111-1111-1111-111111111111", SubscriptionID: "22222222-2222-2222-2222-222222222222",
		ResourceGroup: "rg-orchid", VNet: "orchid-f60718-vnet", WorkerSubnet: "workers", WorkerNSG: "orchid-f60718-workers",
		ResourcePrefix: "orchid-f60718", Tags: map[string]string{"team": "a,b=c"}, CloudConfigSecret: true,
	}
}

// clusters differ in every fact that a template branches on.
func clusters() map[string]pack.Cluster {
	identity := sample()
	identity.CloudConfigSecret = false
	identity.Tags = nil
	hostile := sample()
	hostile.Name, hostile.ResourcePrefix = "}} {{", "a\"\nkind: Secret\n---\n"
	hostile.PodCIDR, hostile.UID = "' : #\n- x", "%!&*\u0085\u2028\x7f"
	return map[string]pack.Cluster{"secret": sample(), "identity": identity, "hostile": hostile, "empty": {}}
}

// documents splits a stream the way a client does.
func documents(t testing.TB, stream []byte) [][]byte {
	t.Helper()
	var out [][]byte
	r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream)))
	for {
		doc, err := r.Read()
		if err == io.EOF { //nolint:errorlint // the reader returns it bare
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(string(doc)) != "" {
			out = append(out, doc)
		}
	}
}

// decodeStrictly fails on a field that the Kubernetes type does not have. A
// custom resource definition has no type among client-go's: its structure is
// checked by checkDefinition.
func decodeStrictly(doc []byte) (string, error) {
	var meta struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal(doc, &meta); err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	id := meta.Kind + " " + strings.TrimPrefix(meta.Metadata.Namespace+"/"+meta.Metadata.Name, "/")
	if meta.Metadata.Name == "" {
		return id, fmt.Errorf("%s has no name", id)
	}
	if meta.Kind == "CustomResourceDefinition" {
		return id, checkDefinition(doc)
	}
	codecs := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict)
	obj, _, err := codecs.UniversalDeserializer().Decode(doc, nil, nil)
	if err != nil {
		return id, fmt.Errorf("%s: %w", id, err)
	}
	if obj.GetObjectKind().GroupVersionKind().Kind != meta.Kind {
		return id, fmt.Errorf("%s decodes as %s", id, obj.GetObjectKind().GroupVersionKind())
	}
	return id, roundTrip(obj)
}

// roundTrip catches what only marshalling sees, such as a bad quantity.
func roundTrip(obj runtime.Object) error {
	if _, err := json.Marshal(obj); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return nil
}

func checkDefinition(doc []byte) error {
	var d struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name        string            `json:"name"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			Group string `json:"group"`
			Scope string `json:"scope"`
			Names struct {
				Plural, Singular, Kind, ListKind string
			} `json:"names"`
			Versions []struct {
				Name         string         `json:"name"`
				Served       bool           `json:"served"`
				Storage      bool           `json:"storage"`
				Subresources map[string]any `json:"subresources"`
				Schema       struct {
					OpenAPIV3Schema struct {
						Type  string `json:"type"`
						Open  bool   `json:"x-kubernetes-preserve-unknown-fields"`
						Extra string `json:"-"`
					} `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.UnmarshalStrict(doc, &d); err != nil {
		return fmt.Errorf("definition: %w", err)
	}
	n := d.Spec.Names
	v := d.Spec.Versions
	switch {
	case d.APIVersion != "apiextensions.k8s.io/v1",
		d.Metadata.Name != n.Plural+"."+d.Spec.Group,
		n.Singular != strings.ToLower(n.Kind), n.ListKind != n.Kind+"List",
		d.Spec.Scope != "Cluster" && d.Spec.Scope != "Namespaced",
		len(v) != 1 || !v[0].Served || !v[0].Storage || !v[0].Schema.OpenAPIV3Schema.Open || v[0].Schema.OpenAPIV3Schema.Type != "object":
		return fmt.Errorf("definition %s is not well-formed", d.Metadata.Name)
	case strings.HasSuffix(d.Spec.Group, ".k8s.io") && !strings.HasPrefix(d.Metadata.Annotations["api-approved.kubernetes.io"], "unapproved"):
		return fmt.Errorf("definition %s is in a protected group and says nothing of approval", d.Metadata.Name)
	}
	return nil
}

func TestBuiltinPacksRender(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	for _, p := range r.Packs() {
		for name, c := range clusters() {
			t.Run(p.Name+"/"+p.Version+"/"+name, func(t *testing.T) {
				t.Parallel()
				releases, err := r.Render(lazuli.Layer{Name: p.Name, Tag: p.Version, Values: p.Values}, c)
				if err != nil {
					t.Fatal(err)
				}
				seen := map[string]bool{}
				for _, rel := range releases {
					for _, doc := range documents(t, rel.Documents) {
						id, err := decodeStrictly(doc)
						if err != nil {
							t.Errorf("release %s: %v\n%s", rel.Name, err, doc)
						}
						if seen[id] {
							t.Errorf("%s is there twice", id)
						}
						seen[id] = true
					}
				}
			})
		}
	}
}

func TestRenderGolden(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	for _, tc := range []struct {
		name, pack, tag, values string
		change                  func(*pack.Cluster)
	}{
		{name: "kubernetes-1.36.6", pack: "kubernetes", tag: "1.36.6"},
		{name: "kubernetes-1.37.2-identity", pack: "kubernetes", tag: "1.37.x", change: func(c *pack.Cluster) { c.CloudConfigSecret = false }},
		{name: "calico-3.32.2", pack: "cni-calico-azure", tag: "3.32.2"},
		{name: "calico-3.33.0-nftables", pack: "cni-calico-azure", tag: "", values: "calico: {kubeProxyMode: nftables, mtu: 1450}"},
		{name: "csi-1.34.5", pack: "csi-azure", tag: "1.34.5"},
		{name: "csi-1.34.5-identity", pack: "csi-azure", tag: "1.34.x", change: func(c *pack.Cluster) { c.CloudConfigSecret = false }},
		{name: "hello-1.0.0", pack: "hello-lazuli", tag: "1.0.0", values: "hello: {serviceType: LoadBalancer}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := sample()
			if tc.change != nil {
				tc.change(&c)
			}
			releases, err := r.Render(lazuli.Layer{Name: tc.pack, Tag: tc.tag, Values: tc.values}, c)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			for _, rel := range releases {
				fmt.Fprintf(&b, "# release %s, stage %s, layer %s, version %s\n%s", rel.Name, rel.Stage, rel.Layer, rel.Version, rel.Documents)
			}
			golden(t, tc.name+".yaml", b.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; run go test ./internal/pack -update and review (-want +got):\n%s", file, diff)
	}
}
