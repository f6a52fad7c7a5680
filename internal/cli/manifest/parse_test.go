// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/examples"
	"github.com/lazuli-dev/lazuli/internal/cli/manifest"
)

func environment(name string) string {
	return map[string]string{
		"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "canary-secret",
		"AZURE_SUBSCRIPTION_ID": "subscription", "AZURE_RESOURCE_GROUP": "group", "AZURE_LOCATION": "westeurope",
		"TWO": "2", "YES": "true", "EVIL": "x\nkind: Other",
	}[name]
}

const clusterHead = `apiVersion: lazuli.io/v1alpha1
kind: Cluster
metadata: {name: demo}
spec:
  account: azure
  profiles: [base]
  subscriptionId: s
  resourceGroup: g
  location: l
  sshKey: ssh-ed25519 AAAA
`

const profileHead = `apiVersion: lazuli.io/v1alpha1
kind: ClusterProfile
metadata: {name: base}
spec:
`

func TestParseExample(t *testing.T) {
	t.Parallel()
	docs, err := manifest.Parse("cluster.yaml", examples.Cluster, environment)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, d := range docs {
		kinds = append(kinds, d.Kind+" "+d.Name)
	}
	if diff := cmp.Diff([]string{"CloudAccount azure", "ClusterProfile base", "Cluster demo"}, kinds); diff != "" {
		t.Fatal(diff)
	}
	if got := docs[0].Account.ClientSecret.Reveal(); got != "canary-secret" {
		t.Errorf("secret %q", got)
	}
	if s := fmt.Sprintf("%+v", docs); strings.Contains(s, "canary") {
		t.Errorf("printing documents shows the secret: %s", s)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason, yaml string
		want         []string // path and message; all of them, in order
	}{
		{
			"an unknown field names its line and the known ones", clusterHead + "  sise: 3\n",
			[]string{"f.yaml:11: spec.sise: unknown field; known are account, profiles, subscriptionId, resourceGroup, " +
				"location, sshKey, sshKeyFile, description, tags, controlPlane, workers"},
		},
		{
			"zones of the control plane are ours to choose, and the message says so",
			clusterHead + "  controlPlane:\n    size: 3\n    zones: ['1']\n",
			[]string{"f.yaml:13: spec.controlPlane.zones: zones are chosen for worker pools only; " +
				"control-plane nodes are spread over all zones that sell their size"},
		},
		{
			"all findings at once", clusterHead + "  controlPlane: {size: 2}\n  workers:\n    - {name: A, size: -1}\n    - {name: cp}\n",
			[]string{
				"f.yaml:11: spec.controlPlane.size: 2 must be 1, 3 or 5, so that etcd has a majority to lose",
				`f.yaml:13: spec.workers[0].name: "A" must be a letter, then lower-case letters, digits and hyphens, at most 31 characters`,
				"f.yaml:13: spec.workers[0].size: -1 must be 1 or more; leave a pool without machines out",
				`f.yaml:14: spec.workers[1].name: "cp" is the name of the control-plane pool`,
			},
		},
		{
			"a pool twice", clusterHead + "  workers: [{name: a}, {name: a}]\n",
			[]string{`f.yaml:11: spec.workers[1].name: "a" is already a pool of this cluster`},
		},
		{
			"a taint without effect", clusterHead + "  workers:\n  - name: a\n    taints: [{key: k}]\n",
			[]string{`f.yaml:13: spec.workers[0].taints[0].effect: "" is none of NoSchedule, PreferNoSchedule, NoExecute`},
		},
		{
			"a wrong type", clusterHead + "  workers: {name: a}\n",
			[]string{"f.yaml:11: spec.workers: expected a list, found keys and values"},
		},
		{
			"a number that is none", clusterHead + "  controlPlane: {diskSizeGB: big}\n",
			[]string{`f.yaml:11: spec.controlPlane.diskSizeGB: "big" is not a whole number`},
		},
		{
			"a boolean that is none: YAML 1.1's yes is no YAML 1.2 boolean", clusterHead + "  controlPlane: {allowWorkloads: yes}\n",
			[]string{`f.yaml:11: spec.controlPlane.allowWorkloads: "yes" is neither true nor false`},
		},
		{
			"a missing variable is never an empty secret", clusterHead + "  description: ${NOT_SET}\n",
			[]string{"f.yaml:11: spec.description: the environment variable NOT_SET is not set"},
		},
		{
			"a form of the shell that is not understood", clusterHead + "  description: ${A:-b}\n",
			[]string{"f.yaml:11: spec.description: ${A:-b} is not ${NAME}; write $${ for a literal ${"},
		},
		{
			"a key twice", clusterHead + "  location: other\n",
			[]string{"f.yaml:11: spec.location: is given twice"},
		},
		{
			"both keys", clusterHead + "  sshKeyFile: x\n",
			[]string{"f.yaml:10: spec.sshKey: exactly one of sshKey and sshKeyFile is required"},
		},
		{
			"required fields", "apiVersion: lazuli.io/v1alpha1\nkind: CloudAccount\nmetadata: {name: a}\n",
			[]string{
				"f.yaml:1: spec.tenantId: is required", "f.yaml:1: spec.clientId: is required", "f.yaml:1: spec.clientSecret: is required",
			},
		},
		{
			"a profile needs layers", profileHead + "  type: infra\n",
			[]string{"f.yaml:4: spec.packs: at least one pack is required"},
		},
		{
			"a profile of no type, a layer twice, a layer without version",
			profileHead + "  type: x\n  packs: [{name: a, tag: '1'}, {name: a}]\n",
			[]string{
				`f.yaml:5: spec.type: "x" is none of cluster, infra, add-on`,
				`f.yaml:6: spec.packs[1].name: "a" is already a layer of this profile`,
				"f.yaml:6: spec.packs[1].tag: is required: the version of the pack, such as 1.36.x",
			},
		},
		{
			"an unknown kind, and findings of a second document beside it",
			"apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n---\n" + clusterHead + "  x: 1\n",
			[]string{
				`f.yaml:1: apiVersion: "v1" must be lazuli.io/v1alpha1`,
				`f.yaml:2: kind: "Pod" is none of CloudAccount, ClusterProfile, Cluster`,
				"f.yaml:15: spec.x: unknown field; known are account, profiles, subscriptionId, resourceGroup, " +
					"location, sshKey, sshKeyFile, description, tags, controlPlane, workers",
			},
		},
		{"an unknown field beside spec", clusterHead + "status: {}\n", []string{"f.yaml:11: status: unknown field; known are apiVersion, kind, metadata, spec"}},
		{"a name that Azure resources cannot carry", strings.Replace(clusterHead, "demo", "De_mo", 1), []string{
			`f.yaml:3: metadata.name: "De_mo" must be lower-case letters, digits and hyphens, at most 63 characters`,
		}},
		{"broken YAML", "a: [\n", []string{"f.yaml: line 1: did not find expected node content"}},
		{"a list", "- a\n", []string{
			"f.yaml:1: document: expected keys and values, found a list", `f.yaml:1: apiVersion: "" must be lazuli.io/v1alpha1`,
			"f.yaml:1: metadata.name: is required", `f.yaml:1: kind: "" is none of CloudAccount, ClusterProfile, Cluster`,
		}},
		{"nothing", "---\n# only a comment\n", []string{"f.yaml: holds no document"}},
		{"a bomb of aliases", "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + bomb(), nil},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			_, err := manifest.Parse("f.yaml", []byte(tt.yaml), environment)
			e, ok := errors.AsType[*lazuli.Error](err)
			if !ok || e.Code != lazuli.CodeInvalidField {
				t.Fatalf("got %v, want an error of %s", err, lazuli.CodeInvalidField)
			}
			var got []string
			for _, f := range e.Fields {
				got = append(got, f.Path+": "+f.Message)
			}
			if diff := cmp.Diff(tt.want, got); tt.want != nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

// bomb is a few lines that would be ten to the ninth values.
func bomb() string {
	var b strings.Builder
	b.WriteString(profileHead + "  packs:\n")
	prev := "{name: x, tag: '1'}"
	for i := range 9 {
		fmt.Fprintf(&b, "  - &l%d [%s]\n", i, strings.TrimSuffix(strings.Repeat(prev+", ", 10), ", "))
		prev = fmt.Sprintf("*l%d", i)
	}
	return strings.Replace(b.String(), "a: &a", "", 1)
}

func TestExpansion(t *testing.T) {
	t.Parallel()
	tests := []struct{ reason, in, want string }{
		{"plain text stays", "a $b $(c) 100%", "a $b $(c) 100%"},
		{"a variable inside text", "x-${TWO}-y", "x-2-y"},
		{"two variables", "${TWO}${TWO}", "22"},
		{"the escape", "$${TWO}", "${TWO}"},
		{"what a variable holds is text, never structure", "${EVIL}", "x\nkind: Other"},
		{"and is not expanded again", "${TWO}$${EVIL}", "2${EVIL}"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			docs, err := manifest.Parse("f.yaml", []byte(clusterHead+"  description: '"+tt.in+"'\n"), environment)
			if err != nil {
				t.Fatal(err)
			}
			if got := docs[0].Cluster.Description; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestScalars(t *testing.T) {
	t.Parallel()
	docs, err := manifest.Parse("f.yaml", []byte(clusterHead+`  controlPlane: {size: 3, allowWorkloads: "${YES}"}
  workers:
    - {name: gpu, size: "${TWO}", zones: [1, "2"], labels: {gpu: true}}
    - {name: one}
`), environment)
	if err != nil {
		t.Fatal(err)
	}
	c := docs[0].Cluster
	if *c.ControlPlane.Size != 3 || !c.ControlPlane.AllowWorkloads {
		t.Errorf("control plane %+v", c.ControlPlane)
	}
	if w := c.Workers[0]; *w.Size != 2 || !cmp.Equal(w.Zones, []string{"1", "2"}) || w.Labels["gpu"] != "true" {
		t.Errorf("worker pool %+v", w)
	}
	if *c.Workers[1].Size != 1 {
		t.Error("a pool is of one machine unless it says otherwise")
	}
}

func TestWorkersLeftOutAndNone(t *testing.T) {
	t.Parallel()
	for yaml, want := range map[string]int{"": 1, "  workers: []\n": 0, "  workers: null\n": 1} {
		docs, err := manifest.Parse("f.yaml", []byte(clusterHead+yaml), environment)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(docs[0].Cluster.Workers); got != want {
			t.Errorf("%q: %d pools", yaml, got)
		}
	}
}

func TestTagsKeepTheirText(t *testing.T) {
	t.Parallel()
	docs, err := manifest.Parse("f.yaml", []byte(profileHead+"  packs: [{name: ubuntu-azure, tag: 24.10}]\n"), environment)
	if err != nil {
		t.Fatal(err)
	}
	if got := docs[0].Profile.Packs[0].Tag; got != "24.10" {
		t.Errorf("tag %q: a version was read as a number", got)
	}
}
