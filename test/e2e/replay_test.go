// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// recorded is one request of an unmodified client, and what it was answered.
type recorded struct {
	M, P, Q string
	Hdr     map[string]string
	Body    json.RawMessage
	Status  int
}

// TestRecordedClient sends the built binary what a client of the wire sent when
// it was recorded: account, infrastructure profile and cluster, their reads and
// their deletion. Only uids, the credential, the placement, the SSH key and the
// packs' versions are replaced. The cluster must come up between.
func TestRecordedClient(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("LAZULI_REFERENCE_DIR")
	if dir == "" {
		t.Skip("LAZULI_REFERENCE_DIR is not set: the recorded requests are not part of the repository")
	}
	f, err := os.Open(filepath.Join(dir, "provider-requests", "01-create.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &recording{hub: startHub(t), uids: map[string]string{}}
	r.prepare()
	n := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var rec recorded
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatal(err)
		}
		if r.replay(&rec) {
			n++
		}
	}
	if n < 30 {
		t.Errorf("only %d requests were replayed", n)
	}
	t.Logf("%d requests replayed", n)
	r.nothingLeft()
	r.terminate()
}

type recording struct {
	*hub
	uids     map[string]string // recorded to ours
	replacer *strings.Replacer
	project  string
	cluster  string // recorded uid
}

// prepare finds what stands for the recorded places and versions here.
func (r *recording) prepare() {
	r.t.Helper()
	projects, _ := r.call("GET", "/v1/dashboard/projects/metadata", "", 200)["items"].([]any)
	r.project = text(dig(projects[0], "metadata", "uid"))
	pairs := []string{
		"proj-default", r.project,
		"00000000-0000-0000-0000-000000000001", r.env["AZURE_TENANT_ID"],
		"00000000-0000-0000-0000-000000000002", r.env["AZURE_CLIENT_ID"],
		"00000000-0000-0000-0000-000000000003", r.env["AZURE_SUBSCRIPTION_ID"],
		`"clientSecret": "secret"`, `"clientSecret": "` + r.env["AZURE_CLIENT_SECRET"] + `"`,
		`"resourceGroup": "rg"`, `"resourceGroup": "` + r.env["AZURE_RESOURCE_GROUP"] + `"`,
		`"location": "eastus"`, `"location": "` + r.env["AZURE_LOCATION"] + `"`,
		"ssh-rsa AAAA", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOAgUzN2qjFauUmQRzphRZbQAw5VpMOpR2qcU7yRy2lX nobody@example",
	}
	for name, was := range map[string]string{"ubuntu-azure": "22.04", "kubernetes": "1.32.3", "cni-calico-azure": "3.29.2", "csi-azure": "1.31.2"} {
		items, _ := r.call("GET", "/v1/packs?limit=50&filters=spec.name%3D"+name, "", 200)["items"].([]any)
		p := items[len(items)-1]
		pairs = append(pairs, "pk-"+name+"-"+was, text(dig(p, "metadata", "uid")), was, text(dig(p, "spec", "version")))
	}
	r.replacer = strings.NewReplacer(pairs...)
}

var uidInPath = regexp.MustCompile(`[0-9a-f]{24}`)

// served are the calls of the main job; the rest is the wire contract's.
var served = regexp.MustCompile(`^(POST /v1/clouds/azure/account/validate|POST /v1/cloudaccounts/azure|(GET|DELETE) /v1/cloudaccounts/azure/\w+|` +
	`POST /v1/clusterprofiles|(GET|DELETE) /v1/clusterprofiles/\w+|PATCH /v1/clusterprofiles/\w+/publish|GET /v1/clusterprofiles/\w+/variables|` +
	`POST /v1/spectroclusters/azure|(GET|DELETE) /v1/spectroclusters/\w+|GET /v1/spectroclusters/\w+/(assets|features|config)/\w+|` +
	`GET /v1/dashboard/\w+/\w+/overview|GET /v1/cloudconfigs/azure/\w+|GET /v1/dashboard/projects/metadata|GET /v1/registries/metadata)$`)

func (r *recording) replay(rec *recorded) bool {
	r.t.Helper()
	addOn := strings.Contains(string(rec.Body), "hello-universe")
	if !served.MatchString(rec.M+" "+rec.P) || addOn {
		return false
	}
	path := rec.P
	for _, uid := range uidInPath.FindAllString(path, -1) {
		ours, known := r.uids[uid]
		if !known && strings.Contains(path, "cloudconfigs") {
			ours, known = text(dig(r.call("GET", "/v1/spectroclusters/"+r.uids[r.cluster], "", 200), "spec", "cloudConfigRef", "uid")), true
		}
		if !known {
			return false // of the add-on profile or of a project
		}
		path = strings.ReplaceAll(path, uid, ours)
	}
	if rec.M == "DELETE" && strings.Contains(path, "cloudaccounts") {
		r.waitFor("Deleted", false) // as the client waits
	}
	body := string(rec.Body)
	if body == "null" {
		body = ""
	}
	for was, ours := range r.uids {
		body = strings.ReplaceAll(body, was, ours)
	}
	if rec.Q != "" {
		path += "?" + r.replacer.Replace(rec.Q)
	}
	status, answer := r.send(rec, path, r.replacer.Replace(body))
	if status != rec.Status {
		r.t.Errorf("%s %s: %d, recorded %d\n%s", rec.M, path, status, rec.Status, answer)
	}
	if rec.M == "POST" && status == http.StatusCreated {
		r.learn(rec, text(answer["uid"]))
	}
	return true
}

// learn pairs the uid that was made with the recorded one, which the recorder's
// next requests name.
func (r *recording) learn(rec *recorded, ours string) {
	switch rec.P {
	case "/v1/clusterprofiles":
		r.uids["1d1fd985f8fd426da4e6ee0c"] = ours
	case "/v1/cloudaccounts/azure":
		r.uids["e699484a59fc4f2d8aac61ad"] = ours
	case "/v1/spectroclusters/azure":
		r.cluster = "9eda294d1c3f43b5a57388f1"
		r.uids[r.cluster] = ours
		r.waitFor("Running", true)
	}
}

func (r *recording) waitFor(state string, healthy bool) {
	r.t.Helper()
	uid := r.uids[r.cluster]
	eventually(r.t, 3*time.Minute, "the cluster "+state, func() bool {
		if dig(r.call("GET", "/v1/spectroclusters/"+uid, "", 200), "status", "state") != state {
			return false
		}
		return !healthy || dig(r.call("GET", "/v1/dashboard/spectroclusters/"+uid+"/overview", "", 200), "status", "health", "state") == "Healthy"
	})
}

func (r *recording) send(rec *recorded, path, body string) (int, map[string]any) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), rec.M, r.env["LAZULI_URL"]+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for name, value := range rec.Hdr {
		req.Header.Set(name, r.replacer.Replace(value))
	}
	req.Header.Set("ApiKey", r.env["LAZULI_API_KEY"])
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	answer := map[string]any{}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, &answer); err != nil {
			r.t.Fatalf("%s %s: %v", rec.M, path, err)
		}
	}
	return resp.StatusCode, answer
}
