// SPDX-License-Identifier: Apache-2.0

package pack_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/pack"
)

func TestBuiltinIsComplete(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	if r.Name() != "Public Repo" || !lazuli.ValidUID(r.UID()) {
		t.Errorf("registry %q has the uid %q", r.Name(), r.UID())
	}
	uids := map[string]bool{}
	var got []string
	for _, p := range r.Packs() {
		got = append(got, p.Name+" "+p.Version+" "+string(p.Layer))
		switch {
		case !lazuli.ValidUID(p.UID) || uids[p.UID]:
			t.Errorf("%s %s: uid %q is not one of its own", p.Name, p.Version, p.UID)
		case p.DisplayName == "" || p.Readme == "" || p.Values == "" || len(p.CloudTypes) == 0 || p.Type != pack.TypeSpectro:
			t.Errorf("%s %s lacks a field", p.Name, p.Version)
		case !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(p.Digest):
			t.Errorf("%s %s: digest %q", p.Name, p.Version, p.Digest)
		case p.RegistryUID != r.UID() || !p.HasTag(p.Version) || !p.HasTag(p.Group):
			t.Errorf("%s %s: registry %q, tags %q", p.Name, p.Version, p.RegistryUID, p.Tags)
		case len(p.Stages) > 0 && !strings.Contains(strings.ToLower(p.Readme), "not verified"):
			t.Errorf("%s: the README does not say what was not verified", p.Name)
		}
		uids[p.UID] = true
	}
	want := []string{
		"cni-calico-azure 3.33.0 cni", "cni-calico-azure 3.32.2 cni", "cni-calico-azure 3.29.4 cni",
		"csi-azure 1.34.5 csi", "hello-lazuli 1.0.0 addon",
		"hello-universe 1.2.0 addon", "hello-universe 1.1.0 addon",
		"kubernetes 1.37.2 k8s", "kubernetes 1.36.6 k8s", "kubernetes 1.36.3 k8s", "kubernetes 1.35.10 k8s",
		"ubuntu-azure 24.04 os", "ubuntu-azure 22.04 os",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packs (-want +got):\n%s", diff)
	}
}

// The uids are in users' Terraform states: they may never change.
func TestUIDsAreForEver(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	if got := r.UID(); got != "ef758524080861d8907122f6" {
		t.Errorf("the registry's uid changed to %s", got)
	}
	p, err := r.Resolve("kubernetes", "1.36.3", "")
	if err != nil || p.UID != "4ae24c3cfb9808dab128031d" {
		t.Errorf("the uid of kubernetes 1.36.3 changed to %s (%v)", p.UID, err)
	}
}

func TestPacksAreCopies(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	p := r.Packs()[0]
	p.Tags[0], p.Annotations["imageLayout"] = "changed", "changed"
	if q, ok := r.ByUID(p.UID); !ok || q.Tags[0] == "changed" || q.Annotations["imageLayout"] == "changed" {
		t.Error("a caller changed the registry")
	}
	if _, ok := r.ByUID("000000000000000000000000"); ok {
		t.Error("a pack has a uid that nothing has")
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	uid := func(name, tag string) string {
		p, err := r.Resolve(name, tag, "")
		if err != nil {
			t.Fatal(err)
		}
		return p.UID
	}
	for _, tc := range []struct {
		reason, name, tag, uid string
		want                   string // version, or part of the error
		fails                  bool
	}{
		{reason: "an exact version", name: "kubernetes", tag: "1.36.3", want: "1.36.3"},
		{reason: "a group tag is its newest version", name: "kubernetes", tag: "1.36.x", want: "1.36.6"},
		{reason: "no tag is the newest version: by number, not by text", name: "kubernetes", want: "1.37.2"},
		{reason: "two digits of a patch sort as a number", name: "kubernetes", tag: "1.35.x", want: "1.35.10"},
		{reason: "a uid with its version", name: "kubernetes", tag: "1.36.3", uid: uid("kubernetes", "1.36.3"), want: "1.36.3"},
		{reason: "a uid without a tag", name: "kubernetes", uid: uid("kubernetes", "1.36.3"), want: "1.36.3"},
		{reason: "a uid alone", uid: uid("kubernetes", "1.36.3"), want: "1.36.3"},
		{reason: "a uid within its group", name: "kubernetes", tag: "1.36.x", uid: uid("kubernetes", "1.36.3"), want: "1.36.3"},
		{
			reason: "only the tag was changed in Terraform: the old uid is overruled",
			name:   "kubernetes", tag: "1.37.2", uid: uid("kubernetes", "1.36.3"), want: "1.37.2",
		},
		{reason: "a uid of another hub", name: "kubernetes", tag: "1.36.3", uid: "pk-kubernetes-1.36.3", want: "1.36.3"},
		{reason: "a uid of another pack", name: "kubernetes", tag: "1.36.3", uid: uid("csi-azure", ""), want: "1.36.3"},
		{reason: "a prefixed name", name: "second--hello-lazuli", tag: "1.0.0", want: "1.0.0"},
		{reason: "an extra tag", name: "ubuntu-azure", tag: "LTS__22.04", want: "22.04"},
		{reason: "an unknown version lists the known ones", name: "kubernetes", tag: "1.32.3", fails: true, want: "1.37.2, 1.36.6, 1.36.3, 1.35.10"},
		{reason: "an unknown version with a good uid of another version", name: "kubernetes", tag: "1.32.3", uid: uid("kubernetes", "1.36.3"), fails: true, want: "no version 1.32.3"},
		{reason: "an unknown name lists the packs", name: "cni-flannel", fails: true, want: "cni-calico-azure"},
		{reason: "a prefix alone", name: "hello-lazuli--", fails: true, want: "has no pack"},
		{reason: "nothing at all", fails: true, want: "has no pack"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			p, err := r.Resolve(tc.name, tc.tag, tc.uid)
			switch {
			case tc.fails && (lazuli.CodeOf(err) != lazuli.CodeInvalidField || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an InvalidField with %q", err, tc.want)
			case !tc.fails && (err != nil || p.Version != tc.want):
				t.Errorf("got version %q, %v; want %q", p.Version, err, tc.want)
			}
		})
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	r := builtin(t)
	sent := lazuli.Layer{Name: "second--hello-lazuli", Tag: "1.0.x", PackUID: "stale", Values: "a: 1 # kept\n"}
	got, err := r.Complete(sent)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Resolve("hello-lazuli", "1.0.0", "")
	if err != nil {
		t.Fatal(err)
	}
	want := sent
	want.PackUID, want.RegistryUID, want.Layer, want.Version = p.UID, r.UID(), "addon", "1.0.0"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	own := lazuli.Layer{Name: "extra", Type: pack.TypeManifest, PackUID: "spectro-manifest-pack"}
	if got, err := r.Complete(own); err != nil || got.Layer != "addon" || got.PackUID != own.PackUID {
		t.Errorf("manifest layer: got %+v, %v", got, err)
	}
	if _, err := r.Complete(lazuli.Layer{Name: "none"}); err == nil {
		t.Error("an unknown pack was completed")
	}
	if !slices.Equal(pack.Stages()[:2], []pack.Stage{pack.StageNodeInitialiser, pack.StageNetwork}) {
		t.Error("the network comes right after the node initialiser")
	}
}

// An operator's packs stand beside the built-in ones, in the same registry.
func TestPacksOfADirectory(t *testing.T) {
	t.Parallel()
	network := func() fstest.MapFS {
		return fstest.MapFS{
			"README.md":                  {Data: []byte("not a pack")},
			"cni-own/common/values.yaml": {Data: []byte("own:\n  backend: vxlan\n")},
			"cni-own/1.0.0/pack.json": {Data: []byte(`{"name":"cni-own","version":"1.0.0","layer":"cni","cloudTypes":["azure"],
				"annotations":{"allocateNodeCIDRs":"true"},"kubeManifests":[{"file":"own.yaml","release":"own","stage":"network"}]}`)},
			"cni-own/1.0.0/manifests/own.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own, namespace: kube-system}\n")},
		}
	}
	r, err := pack.With(network())
	if err != nil {
		t.Fatal(err)
	}
	if r.UID() != builtin(t).UID() || len(r.Packs()) != len(builtin(t).Packs())+1 {
		t.Errorf("registry %s has %d packs", r.UID(), len(r.Packs()))
	}
	layer := func(name string) lazuli.Layer {
		p, err := r.Resolve(name, "", "")
		if err != nil {
			t.Fatal(err)
		}
		return lazuli.Layer{Name: name, Tag: p.Version, PackUID: p.UID}
	}
	for cni, want := range map[string]bool{"cni-own": true, "cni-calico-azure": false} {
		s, err := r.Settings([]lazuli.Layer{layer("ubuntu-azure"), layer("kubernetes"), layer(cni)})
		if err != nil || s.AllocateNodeCIDRs != want {
			t.Errorf("with %s the controller manager hands out pieces of the pod range: %t (%v)", cni, s.AllocateNodeCIDRs, err)
		}
	}

	for reason, spoil := range map[string]func(fstest.MapFS){
		"says cni-own 2.0.0": func(m fstest.MapFS) {
			m["cni-own/1.0.0/pack.json"].Data = []byte(`{"name":"cni-own","version":"2.0.0"}`)
		},
		"unknown field": func(m fstest.MapFS) { m["cni-own/1.0.0/pack.json"].Data = []byte(`{"nom":"cni-own"}`) },
		"this version is built in": func(m fstest.MapFS) {
			m["kubernetes/1.36.3/pack.json"] = &fstest.MapFile{Data: []byte(`{"name":"kubernetes","version":"1.36.3"}`)}
		},
		"no such file or stage": func(m fstest.MapFS) { delete(m, "cni-own/1.0.0/manifests/own.yaml") },
	} {
		m := network()
		spoil(m)
		if _, err := pack.With(m); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("want an error about %q, got %v", reason, err)
		}
	}
}

// The packs of the simulator's node image make a whole infrastructure profile.
func TestPacksOfTheNodeImage(t *testing.T) {
	t.Parallel()
	r, err := pack.With(os.DirFS("../../simnode/packs"))
	if err != nil {
		t.Fatal(err)
	}
	var layers []lazuli.Layer
	for _, name := range []string{"ubuntu-azure", "kubernetes", "cni-vxlan", "csi-local"} {
		l, err := r.Complete(lazuli.Layer{Name: name, Type: pack.TypeSpectro})
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
	}
	if found := r.Validate(pack.ProfileInfra, layers); len(found) > 0 {
		t.Errorf("%v", found)
	}
}
