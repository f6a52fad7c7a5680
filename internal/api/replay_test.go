// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// TestReplayOfTheProvider sends what the unmodified Terraform provider sent
// when it was recorded. Only what names a place is replaced: uids, the
// credential, subscription, group and region, the SSH key (the recorded one is
// none) and packs' versions; one add-on pack that the built-in registry does
// not have stands for another that it does not have either.
func TestReplayOfTheProvider(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("LAZULI_REFERENCE_DIR")
	if dir == "" {
		t.Skip("LAZULI_REFERENCE_DIR is not set: the recorded requests are not part of the repository")
	}
	f, err := os.Open(filepath.Join(dir, "provider-requests", "01-create.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // only read
	r := &replay{hub: newHub(t), uids: map[string]string{}}
	r.prober.placement.DiskTypes = nil
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		var rec recorded
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			t.Fatal(err)
		}
		if r.send(&rec) {
			n++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if n < 25 {
		t.Errorf("only %d requests were replayed", n)
	}
	t.Logf("%d requests replayed", n)
}

type recorded struct {
	M, P, Q string
	Hdr     map[string]string
	Body    json.RawMessage
	Status  int
}

type replay struct {
	*hub
	uids   map[string]string // recorded to ours
	made   []string          // uids of ours that no request has named yet, oldest first
	config string            // uid of the cluster's cloud config
}

var recordedUID = regexp.MustCompile(`[0-9a-f]{24}`)

// unserved are paths of later releases.
var unserved = regexp.MustCompile(`^/v1/projects|/macros$|/profiles$|^/v1/spectroclusters/[^/]+/variables$`)

func (r *replay) send(rec *recorded) bool {
	r.t.Helper()
	if unserved.MatchString(rec.P) {
		return false
	}
	path, query, body := r.adapt(rec.P), r.adaptQuery(rec.Q), r.adapt(string(rec.Body))
	if strings.Contains(path, "/assets/") || path == "" {
		return false // kubeconfigs exist when the engine has made them
	}
	if query != "" {
		path += "?" + query
	}
	var send any
	if body != "null" {
		send = body
	}
	project := ""
	if rec.Hdr["Projectuid"] != "" {
		project = r.project
	}
	a := r.hub.send(rec.M, path, send, "ProjectUid", project, "Content-Type", rec.Hdr["Content-Type"])
	if a.status != rec.Status {
		r.t.Errorf("%s %s: status %d, recorded %d: %s\n%s", rec.M, path, a.status, rec.Status, a.body, body)
		return true
	}
	r.learn(rec, &a)
	return true
}

// learn takes what later requests need from an answer, and does the engine's
// part of a deletion.
func (r *replay) learn(rec *recorded, a *answer) {
	r.t.Helper()
	uid := r.uids[rec.P[strings.LastIndexByte(rec.P, '/')+1:]]
	switch {
	case a.status == http.StatusCreated:
		r.made = append(r.made, a.uid(r.t))
	case rec.M == http.MethodGet && strings.HasPrefix(rec.P, "/v1/spectroclusters/") && strings.Count(rec.P, "/") == 3:
		var c palette.Cluster
		a.json(r.t, &c)
		r.config = c.Spec.CloudConfigRef.UID
	case rec.M == http.MethodDelete && strings.HasPrefix(rec.P, "/v1/spectroclusters/"):
		(&world{hub: r.hub}).change(uid, func(c *lazuli.Cluster) { c.Status.State = lazuli.StateDeleted })
	}
}

// adaptQuery replaces versions in the filters of pack lists.
func (r *replay) adaptQuery(q string) string {
	return r.versions(strings.NewReplacer("proj-default", r.project).Replace(q))
}

func (r *replay) versions(s string) string {
	latest := func(name string) string {
		p, err := r.packs.Resolve(name, "", "")
		if err != nil {
			r.t.Fatal(err)
		}
		return p.Version
	}
	return strings.NewReplacer("1.32.3", latest("kubernetes"), "3.29.2", latest("cni-calico-azure"), "1.31.2", latest("csi-azure"),
		`"tag": "1.2.0"`, `"tag": "`+latest("hello-lazuli")+`"`, `"tag":"1.2.0"`, `"tag":"`+latest("hello-lazuli")+`"`).Replace(s)
}

func (r *replay) adapt(s string) string {
	for _, name := range []string{"ubuntu-azure-22.04", "kubernetes-1.32.3", "cni-calico-azure-3.29.2", "csi-azure-1.31.2", "hello-universe-1.2.0"} {
		i := strings.LastIndexByte(name, '-')
		base := strings.Replace(name[:i], "hello-universe", "hello-lazuli", 1)
		p, err := r.packs.Resolve(base, "", "")
		if base == "ubuntu-azure" {
			p, err = r.packs.Resolve(base, "22.04", "")
		}
		if err != nil {
			r.t.Fatal(err)
		}
		s = strings.ReplaceAll(s, "pk-"+name, p.UID)
	}
	s = strings.NewReplacer("hello-universe", "hello-lazuli", "reg-public", r.packs.UID(), "proj-default", r.project,
		"ssh-rsa AAAA", sshKey, `"eastus"`, `"westeurope"`).Replace(s)
	s = r.versions(s)
	// The provider reads or publishes what it made at once, so an unknown uid
	// names the oldest object that no request has named yet.
	return recordedUID.ReplaceAllStringFunc(s, func(u string) string {
		if _, ours := r.packs.ByUID(u); ours || u == r.project || u == r.packs.UID() {
			return u
		}
		if known, ok := r.uids[u]; ok {
			return known
		}
		if strings.Contains(s, "/cloudconfigs/azure/"+u) {
			return r.config
		}
		if len(r.made) == 0 {
			return u // noise of the recorder
		}
		r.uids[u], r.made = r.made[0], r.made[1:]
		return r.uids[u]
	})
}
