// SPDX-License-Identifier: Apache-2.0

package pack_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
)

func infra() []lazuli.Layer {
	return []lazuli.Layer{
		{Name: "ubuntu-azure", Tag: "24.04", Values: "kubeadmconfig: {}"},
		{Name: "kubernetes", Tag: "1.36.x", Type: "spectro", Values: "pack:\n  podCIDR: 10.244.0.0/16"},
		{Name: "cni-calico-azure", Tag: "3.32.2"},
		{Name: "csi-azure", Tag: "1.34.5"},
	}
}

func addon() lazuli.Layer { return lazuli.Layer{Name: "hello-lazuli", Tag: "1.0.0"} }

func manifest(content string) lazuli.Layer {
	return lazuli.Layer{Name: "extra", Type: "manifest", Manifests: []lazuli.Manifest{{Name: "m", Content: content}}}
}

func with(l lazuli.Layer, values string) lazuli.Layer {
	l.Values = values
	return l
}

func TestValidate(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	l := infra()
	const ns = "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n"
	for _, tc := range []struct {
		reason, profile string
		layers          []lazuli.Layer
		want            []string // "path code"
	}{
		{"the four layers", "infra", l, nil},
		{"infrastructure and add-ons", "cluster", append(infra(), addon(), manifest(ns)), nil},
		{"no type is cluster", "", infra(), nil},
		{"add-ons alone", "add-on", []lazuli.Layer{manifest(ns), addon()}, nil},
		{"a pack twice, under two names", "add-on", []lazuli.Layer{addon(), {Name: "b--hello-lazuli"}}, nil},
		{"nothing", "infra", nil, []string{
			"spec.template.packs LayerMissing", "spec.template.packs LayerMissing",
			"spec.template.packs LayerMissing", "spec.template.packs LayerMissing",
		}},
		{"no storage", "infra", l[:3], []string{"spec.template.packs LayerMissing"}},
		{"another order", "infra", []lazuli.Layer{l[1], l[0], l[2], l[3]}, []string{"spec.template.packs[1] LayerOrder"}},
		{"an add-on in between", "cluster", []lazuli.Layer{l[0], l[1], addon(), l[2], l[3]}, []string{"spec.template.packs[3] LayerOrder"}},
		{"two networks", "cluster", []lazuli.Layer{l[0], l[1], l[2], {Name: "x--cni-calico-azure"}, l[3]}, []string{"spec.template.packs LayerDuplicate"}},
		{"a name twice", "add-on", []lazuli.Layer{addon(), addon()}, []string{"spec.template.packs[1].name PackNameDuplicate"}},
		{"no name", "add-on", []lazuli.Layer{{Type: "manifest", Manifests: manifest(ns).Manifests}}, []string{"spec.template.packs[0].name PackNameMissing"}},
		{"an add-on in an infrastructure profile", "infra", append(infra(), addon()), []string{"spec.template.packs[4] LayerForbidden"}},
		{"infrastructure in an add-on profile", "add-on", l[2:3], []string{"spec.template.packs[0] LayerForbidden"}},
		{"a type of profile that is not served", "system", []lazuli.Layer{addon()}, []string{"spec.template.type ProfileTypeUnknown"}},
		{"an unknown pack", "infra", []lazuli.Layer{l[0], l[1], {Name: "cni-cilium"}, l[3]}, []string{"spec.template.packs[2].name PackUnknown"}},
		{"an unsupported minor", "infra", []lazuli.Layer{l[0], {Name: "kubernetes", Tag: "1.32.3"}, l[2], l[3]}, []string{"spec.template.packs[1].tag PackVersionUnknown"}},
		{"an unknown registry", "add-on", []lazuli.Layer{{Name: "hello-lazuli", RegistryUID: "reg-public"}}, []string{"spec.template.packs[0].registryUid RegistryUnknown"}},
		{"helm", "add-on", []lazuli.Layer{{Name: "nginx", Type: "helm", Tag: "1.0.0"}}, nil},
		{"oci", "add-on", []lazuli.Layer{{Name: "nginx", Type: "oci", Tag: "1.0.0"}}, nil},
		{"an unknown type", "add-on", []lazuli.Layer{{Name: "nginx", Type: "zarf"}}, []string{"spec.template.packs[0].type PackTypeUnknown"}},
		{"values that are no YAML", "add-on", []lazuli.Layer{with(addon(), "a: [")}, []string{"spec.template.packs[0].values PackValuesInvalid"}},
		{"a value that was deleted", "add-on", []lazuli.Layer{with(addon(), "hello: {image: null}")}, []string{"spec.template.packs[0].values PackValuesInvalid"}},
		{"a map for a text", "add-on", []lazuli.Layer{with(addon(), "hello: {image: {a: b}}")}, []string{"spec.template.packs[0].values PackValuesInvalid"}},
		{"a text for a number", "add-on", []lazuli.Layer{with(addon(), "hello: {replicas: many}")}, []string{"spec.template.packs[0].values PackValuesInvalid"}},
		{"a macro", "add-on", []lazuli.Layer{with(addon(), "hello: {image: '{{ .spectro.var.image }}'}")}, []string{"spec.template.packs[0].values PackValuesInvalid"}},
		{"a pod range that is none", "infra", []lazuli.Layer{l[0], with(l[1], "pack: {podCIDR: 10.0.0.0}"), l[2], l[3]}, []string{"spec.template.packs[1].values.pack.podCIDR PackValuesInvalid"}},
		{"a manifest layer without manifests", "add-on", []lazuli.Layer{{Name: "x", Type: "manifest"}}, []string{"spec.template.packs[0].manifests ManifestInvalid"}},
		{"a manifest without a kind", "add-on", []lazuli.Layer{manifest("a: b")}, []string{"spec.template.packs[0].manifests[0].content ManifestInvalid"}},
		{"a manifest that is no YAML", "add-on", []lazuli.Layer{manifest(ns + "---\n{")}, []string{"spec.template.packs[0].manifests[0].content ManifestInvalid"}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			var got []string
			found := r.Validate(tc.profile, tc.layers)
			for _, f := range found {
				got = append(got, f.Path+" "+f.Code)
				if f.Message == "" {
					t.Errorf("%s has no message", f.Path)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s\n%+v", diff, found)
			}
			if want := lazuli.CodeInvalidField; len(tc.want) > 0 && lazuli.CodeOf(found.Err()) != want {
				t.Errorf("as an error: %v", found.Err())
			}
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	got, err := r.Settings(append(infra(), addon()))
	if err != nil {
		t.Fatal(err)
	}
	want := pack.Settings{
		KubernetesVersion: "1.36.6", PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/12", DNSDomain: "cluster.local",
		Image: pack.Image{
			Kind: pack.ImageMarketplace, Publisher: "Canonical", Offer: "ubuntu-24_04-lts",
			SKUGen1: "server-gen1", SKUGen2: "server", SKUArm64: "server-arm64", Version: "latest",
		},
		SSHUser: "lazuli", ProxyMode: "iptables",
		Notices: pack.Findings{{
			Path: "spec.template.packs[0].values.kubeadmconfig", Code: pack.CodeValueIgnored,
			Message: "ubuntu-azure 24.04 does not know the key kubeadmconfig: it has no effect",
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSettingsOfValues(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	const id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/n/images/i"
	for _, tc := range []struct {
		reason, os, k8s, cni string
		check                func(pack.Settings) bool
		err                  string
	}{
		{reason: "an own gallery", os: "image: {source: gallery, gallery: {id: " + id + ", preinstalled: false}}",
			check: func(s pack.Settings) bool {
				return s.Image == pack.Image{Kind: pack.ImageGallery, ID: id}
			}},
		{reason: "the community gallery takes the Kubernetes version", os: "image: {source: community}",
			check: func(s pack.Settings) bool {
				return s.Image.CommunityID == "/CommunityGalleries/ClusterAPI-f72ceb4f-5159-4c26-a0fe-2ea738f0d019/Images/capi-ubun2-2404/Versions/1.36.6" &&
					s.Image.Preinstalled
			}},
		{reason: "a mirror", os: "mirror: {kubernetesPackages: 'https://m.example/k8s/', imageRegistry: 'https://r.example'}",
			check: func(s pack.Settings) bool {
				return s.Mirror == pack.Mirror{AptKubernetes: "https://m.example/k8s", Registry: "https://r.example"}
			}},
		{reason: "names for the certificate", k8s: "kubeadmconfig: {apiServer: {certSANs: [a.example, 10.0.0.9]}}",
			check: func(s pack.Settings) bool { return strings.Join(s.APIServerSANs, " ") == "a.example 10.0.0.9" }},
		{reason: "nftables for both", cni: "calico: {kubeProxyMode: nftables}", check: func(s pack.Settings) bool { return s.ProxyMode == "nftables" }},
		{reason: "an untested pair is a notice", cni: "VERSION 3.29.4", check: func(s pack.Settings) bool {
			return len(s.Notices) == 1 && s.Notices[0].Code == pack.CodeVersionUntested && s.Notices[0].Path == "spec.template.packs[2].tag"
		}},
		{reason: "an unknown source", os: "image: {source: vhd}", err: "spec.template.packs[0].values.image.source"},
		{reason: "a gallery without an id", os: "image: {source: gallery}", err: "spec.template.packs[0].values.image.gallery.id"},
		{reason: "a path in an image's name", os: "image: {source: community, community: {image: a/b}}", err: "image.community"},
		{reason: "a mirror with a password", os: "mirror: {binaries: 'https://u:p@m.example'}", err: "mirror.binaries"},
		{reason: "a mirror that is a path", os: "mirror: {binaries: /mnt}", err: "mirror.binaries"},
		{reason: "bits beyond the prefix", k8s: "pack: {podCIDR: 10.1.2.3/16}", err: "10.1.0.0/16 was meant"},
		{reason: "no room for a node", k8s: "pack: {podCIDR: 10.1.2.0/26}", err: "0 to 24 bits"},
		{reason: "IPv6", k8s: "pack: {podCIDR: 'fd00::/48'}", err: "not an IPv4 range"},
		{reason: "a Service range that the API server refuses", k8s: "pack: {serviceClusterIpRange: 10.0.0.0/8}", err: "12 to 28 bits"},
		{reason: "ranges that overlap", k8s: "pack: {podCIDR: 10.96.0.0/16}", err: "overlap"},
		{reason: "a domain", k8s: "pack: {serviceDomain: Not_A_Domain}", err: "pack.serviceDomain"},
		{reason: "a number for a range", k8s: "pack: {podCIDR: 10}", err: "not a string"},
		{reason: "SANs that are no list", k8s: "kubeadmconfig: {apiServer: {certSANs: x}}", err: "not a list"},
		{reason: "a deleted key", k8s: "pack: {serviceDomain: null}", err: "pack.serviceDomain: is missing"},
		{reason: "an MTU that Azure cannot carry", cni: "calico: {mtu: 9000}", err: "calico.mtu"},
		{reason: "an MTU that is no number", cni: "calico: {mtu: high}", err: "calico.mtu"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			layers := infra()
			layers[0].Values, layers[1].Values, layers[2].Values = tc.os, tc.k8s, tc.cni
			if v, ok := strings.CutPrefix(tc.cni, "VERSION "); ok {
				layers[2].Tag, layers[2].Values = v, ""
			}
			s, err := r.Settings(layers)
			switch {
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || lazuli.CodeOf(err) != lazuli.CodeInvalidField):
				t.Errorf("got %v, want an InvalidField with %q", err, tc.err)
			case tc.err == "" && (err != nil || !tc.check(s)):
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	for _, tc := range []struct {
		reason string
		layer  lazuli.Layer
		code   lazuli.Code
	}{
		{"an expression", with(addon(), "x: '{{.spectro.macro.x}}'"), lazuli.CodeInvalidField},
		{"an expression in a manifest", manifest("apiVersion: v1\nkind: X\nmetadata: {name: '{{ .spectro.macro.x }}'}"), lazuli.CodeInvalidField},
		{"an unknown type", lazuli.Layer{Name: "x", Type: "?"}, lazuli.CodeInvalidField},
		{"an unknown pack", lazuli.Layer{Name: "x"}, lazuli.CodeInvalidField},
		{"a bad manifest", manifest("- x"), lazuli.CodeInvalidField},
	} {
		if rel, err := r.Render(tc.layer, sample()); lazuli.CodeOf(err) != tc.code || rel != nil {
			t.Errorf("%s: got %v, %v; want %s", tc.reason, rel, err, tc.code)
		} else if !strings.Contains(err.Error(), tc.layer.Name) {
			t.Errorf("%s: %v does not name the layer", tc.reason, err)
		}
	}
}

func TestRenderAll(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	own := manifest("apiVersion: v1\nkind: Namespace\nmetadata: {name: x}")
	releases, err := r.RenderAll(append(infra(), own, addon()), sample())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rel := range releases {
		got = append(got, string(rel.Stage)+" "+rel.Name)
	}
	want := []string{
		"node-initialiser cloud-node-manager", "network calico", "cloud-controller cloud-controller-manager",
		"storage csi-azuredisk", "addon extra-manifests", "addon hello-lazuli",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := r.RenderAll([]lazuli.Layer{addon(), addon()}, sample()); lazuli.CodeOf(err) != lazuli.CodeInvalidField {
		t.Errorf("two layers of one name: %v", err)
	}
	helm := manifest("apiVersion: v1\nkind: Namespace\nmetadata: {name: x}")
	helm.Type = "helm"
	if rel, err := r.RenderAll([]lazuli.Layer{helm}, sample()); err != nil || len(rel) != 1 {
		t.Errorf("a helm layer: %v, %v", rel, err)
	}
	if s, err := r.Settings([]lazuli.Layer{helm}); err != nil || len(s.Notices) != 1 || s.Notices[0].Code != pack.CodeChartIgnored {
		t.Errorf("a helm layer is ignored without a word: %+v, %v", s.Notices, err)
	}
}

func TestManifestsPassVerbatim(t *testing.T) {
	t.Parallel()
	const content = "# {{ .Values.x }} stays\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: '{{ helm }}'}"
	l := addon()
	l.Name = "b--hello-lazuli"
	l.Manifests = []lazuli.Manifest{{Name: "1", Content: content}, {Name: "2", Content: "---\n" + content}}
	releases, err := builtin(t).Render(l, sample())
	if err != nil || len(releases) != 2 {
		t.Fatalf("%d releases, %v", len(releases), err)
	}
	if releases[0].Name != "b--hello-lazuli" || releases[1].Name != "b--hello-lazuli-manifests" || releases[1].Stage != pack.StageAddon {
		t.Errorf("releases %s and %s", releases[0].Name, releases[1].Name)
	}
	if want := content + "\n---\n" + content + "\n"; string(releases[1].Documents) != want {
		t.Errorf("got %q", releases[1].Documents)
	}
}

// The order of a boot hangs on what these pods tolerate and where they write.
func TestPodsFitTheirStage(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	uninitialised := corev1.Taint{Key: "node.cloudprovider.kubernetes.io/uninitialized", Value: "true", Effect: corev1.TaintEffectNoSchedule}
	notReady := corev1.Taint{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoExecute}
	controlPlane := corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}
	found := map[string]bool{}
	for _, p := range r.Packs() {
		releases, err := r.Render(lazuli.Layer{Name: p.Name, Tag: p.Version}, sample())
		if err != nil {
			t.Fatal(err)
		}
		for _, rel := range releases {
			for _, doc := range documents(t, rel.Documents) {
				var d appsv1.DaemonSet
				if err := yaml.Unmarshal(doc, &d); err != nil || d.Kind != "DaemonSet" && d.Kind != "Deployment" {
					continue
				}
				pod := d.Spec.Template.Spec
				early := rel.Stage == pack.StageNodeInitialiser || rel.Stage == pack.StageNetwork && d.Kind == "DaemonSet"
				if early != tolerates(pod, uninitialised) && d.Kind == "Deployment" || early && !tolerates(pod, uninitialised) {
					t.Errorf("%s %s: tolerates a node that is not initialised: %v", p.Name, d.Name, !early)
				}
				if rel.Layer != pack.LayerAddon && !tolerates(pod, controlPlane) || early && !tolerates(pod, notReady) {
					t.Errorf("%s %s does not tolerate control planes, or nodes that are not ready", p.Name, d.Name)
				}
				if rel.Stage == pack.StageNodeInitialiser {
					found["initialiser"] = strings.Contains(pod.Containers[0].Image, "cloud-node-manager") && pod.Containers[0].Name == "cloud-node-manager"
				}
				for _, v := range pod.Volumes {
					if v.HostPath != nil && v.HostPath.Path == "/etc/cni/net.d" {
						found["installer "+p.Version] = rel.Stage == pack.StageNetwork && d.Kind == "DaemonSet"
					}
				}
			}
		}
	}
	want := map[string]bool{"initialiser": true, "installer 3.29.4": true, "installer 3.32.2": true, "installer 3.33.0": true}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func tolerates(pod corev1.PodSpec, taint corev1.Taint) bool {
	for _, tol := range pod.Tolerations {
		if (tol.Key == "" || tol.Key == taint.Key) && (tol.Effect == "" || tol.Effect == taint.Effect) && tol.Operator == corev1.TolerationOpExists {
			return true
		}
	}
	return false
}

func TestCloudConfig(t *testing.T) {
	t.Parallel()
	const password = "fixture-\"secret\n}}"
	doc, err := pack.CloudConfig(sample(), "client", lazuli.NewSecret(password))
	if err != nil {
		t.Fatal(err)
	}
	config := openConfig(t, doc)
	golden(t, "cloud-config.json", indent(t, config))

	identity, err := pack.CloudConfig(sample(), "identity-client", lazuli.Secret{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	if err := json.Unmarshal(openConfig(t, identity), &got); err != nil {
		t.Fatal(err)
	}
	if got["useManagedIdentityExtension"] != true || got["userAssignedIdentityID"] != "identity-client" || got["aadClientId"] != nil || got["aadClientSecret"] != nil {
		t.Errorf("with an identity: %v", got)
	}
}

func TestCloudConfigErrorsTellNoSecret(t *testing.T) {
	t.Parallel()
	c := sample()
	c.Location = ""
	_, err := pack.CloudConfig(c, "client", lazuli.NewSecret("fixture-secret"))
	if lazuli.CodeOf(err) != lazuli.CodeInternal || strings.Contains(fmt.Sprintf("%+v", err), "fixture-secret") {
		t.Errorf("got %v", err)
	}
	if _, err := pack.CloudConfig(sample(), "", lazuli.NewSecret("fixture-secret")); err == nil {
		t.Error("a secret without a client id was taken")
	}
}

// openConfig checks the Secret and returns what is in it.
func openConfig(t *testing.T, doc []byte) []byte {
	t.Helper()
	if _, err := decodeStrictly(doc); err != nil {
		t.Fatal(err)
	}
	var s struct {
		Kind     string
		Metadata struct{ Name, Namespace string }
		Data     map[string]string
	}
	if err := yaml.Unmarshal(doc, &s); err != nil {
		t.Fatal(err)
	}
	if s.Kind != "Secret" || s.Metadata.Name != pack.CloudConfigName || s.Metadata.Namespace != pack.CloudConfigNamespace || len(s.Data) != 1 {
		t.Fatalf("%s %s/%s with %d keys", s.Kind, s.Metadata.Namespace, s.Metadata.Name, len(s.Data))
	}
	config, err := base64.StdEncoding.DecodeString(s.Data[pack.CloudConfigKey])
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func indent(t *testing.T, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}
