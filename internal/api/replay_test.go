// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/test/e2e/tape"
)

// TestReplayOfTheProvider sends what the unmodified Terraform provider sent when
// it was recorded, and holds every answer to what it needs (package tape). The
// engine's part, what becomes of a cluster, is written by hand: test/e2e plays
// the same to the whole binary.
func TestReplayOfTheProvider(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("LAZULI_REFERENCE_DIR")
	if dir == "" {
		t.Skip("LAZULI_REFERENCE_DIR is not set: the recorded requests are not part of the repository")
	}
	sessions, err := tape.Load(filepath.Join(dir, "provider-requests"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{hub: newHub(t)}
	w.prober.placement.DiskTypes = nil
	p := &tape.Player{Hub: w.stands(), Model: tape.NewModel(), Gaps: tape.Gaps(), Send: w.play, Await: func(ok func() bool) bool {
		w.engine()
		return ok()
	}}
	for i := range sessions {
		p.Play(&sessions[i])
		p.Clean()
	}
	res := p.Result()
	for _, gap := range res.Gaps {
		t.Logf("known gap: %s", gap)
	}
	for _, problem := range res.Problems {
		t.Error(problem)
	}
	for _, gap := range res.Closed {
		t.Errorf("%s is no gap any more: take it out of the table", gap)
	}
	t.Logf("%d requests played", res.Played)
}

func (w *world) stands() tape.Hub {
	out := tape.Hub{
		Project: w.project, Registry: w.packs.UID(), Tenant: tenant, Client: client, Secret: canary,
		Subscription: subs, Group: "rg", Region: "westeurope", SSHKey: sshKey,
	}
	for _, p := range w.packs.Packs() {
		out.Packs = append(out.Packs, tape.Pack{Name: p.Name, Version: p.Version, UID: p.UID})
	}
	return out
}

func (w *world) play(method, target string, header map[string]string, body []byte) tape.Answer {
	w.t.Helper()
	w.passed.Add(1) // the API bounds the rate of requests
	var send any
	if body != nil {
		send = body
	}
	a := w.send(method, target, send, "ProjectUid", header["Projectuid"], "Content-Type", header["Content-Type"])
	return tape.Answer{Status: a.status, Header: a.header, Body: a.body}
}

// engine does at once what the engine would: clusters run, with all packs in
// place, and those that were to go are gone.
func (w *world) engine() {
	w.t.Helper()
	page, err := w.store.Query(w.t.Context(), store.Query{Kind: lazuli.KindCluster})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range page.Rows {
		uid := page.Rows[i].Meta.UID
		w.change(uid, func(c *lazuli.Cluster) {
			if c.Delete != nil {
				c.Status.State = lazuli.StateDeleted
				return
			}
			c.Status.State, c.Status.Healthy, c.Status.Packs = lazuli.StateRunning, true, nil
			for _, p := range c.Profiles {
				for _, l := range p.Layers {
					c.Status.Packs = append(c.Status.Packs, lazuli.PackStatus{Name: l.Name, ProfileUID: p.UID, Type: l.Type, Ready: true})
				}
			}
		})
		w.kubeconfig(uid)
	}
}

// kubeconfig stores one, once.
func (w *world) kubeconfig(uid string) {
	w.t.Helper()
	if w.store.Get(w.t.Context(), uid, &lazuli.Keys{}) == nil {
		return
	}
	secrets, err := json.Marshal(&lazuli.ClusterSecrets{AdminKubeconfig: []byte("kind: Config\nclusters: [{cluster: {server: https://example}}]\n")})
	if err != nil {
		w.t.Fatal(err)
	}
	sealed, err := w.seal.Seal(secrets, lazuli.KeysAAD(uid))
	if err != nil {
		w.t.Fatal(err)
	}
	w.add(&lazuli.Keys{Meta: lazuli.Meta{UID: uid}, Sealed: sealed})
}
