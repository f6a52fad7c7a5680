// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/test/e2e/tape"
)

// TestRecordedClient sends the built binary every request that an unmodified
// client of the wire sent when it was recorded: apply, plan, changes of pools,
// a profile's swap, day-2 fields, provoked errors, destroy. Only uids, the
// credential, the placement, the SSH key and the packs are replaced. Every
// answer is held to the contract and to what the client needs (package tape);
// between, what the client waited for must come about.
func TestRecordedClient(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("LAZULI_REFERENCE_DIR")
	if dir == "" {
		t.Skip("LAZULI_REFERENCE_DIR is not set: the recorded requests are not part of the repository")
	}
	sessions, err := tape.Load(filepath.Join(dir, "provider-requests"))
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t)
	p := &tape.Player{Hub: h.stands(), Model: tape.NewModel(), Send: h.play, Gaps: tape.Gaps(), Await: await}
	for i := range sessions {
		begin := time.Now()
		p.Play(&sessions[i])
		p.Settle()
		p.Clean()
		t.Logf("%s: %d requests, %s", sessions[i].Name, len(sessions[i].Requests), time.Since(begin).Round(time.Second))
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
	h.nothingLeft()
	h.terminate()
}

// await waits for a condition of another process, for as long as a busy machine
// may need.
func await(ok func() bool) bool {
	deadline := time.Now().Add(2 * time.Minute)
	for tick := time.NewTicker(200 * time.Millisecond); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// stands tells what stands for the recorder's places and packs here.
func (h *hub) stands() tape.Hub {
	h.t.Helper()
	projects, _ := h.call("GET", "/v1/dashboard/projects/metadata", "", 200)["items"].([]any)
	out := tape.Hub{
		Project: text(dig(projects[0], "metadata", "uid")),
		Tenant:  h.env["AZURE_TENANT_ID"], Client: h.env["AZURE_CLIENT_ID"], Secret: h.env["AZURE_CLIENT_SECRET"],
		Subscription: h.env["AZURE_SUBSCRIPTION_ID"], Group: h.env["AZURE_RESOURCE_GROUP"], Region: h.env["AZURE_LOCATION"],
		SSHKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOAgUzN2qjFauUmQRzphRZbQAw5VpMOpR2qcU7yRy2lX nobody@example",
	}
	packs, _ := h.call("GET", "/v1/packs?limit=0", "", 200)["items"].([]any)
	for _, p := range packs {
		out.Registry = text(dig(p, "spec", "registryUid"))
		out.Packs = append(out.Packs, tape.Pack{
			Name: text(dig(p, "spec", "name")), Version: text(dig(p, "spec", "version")), UID: text(dig(p, "metadata", "uid")),
		})
	}
	return out
}

// play sends a recorded request.
func (h *hub) play(method, target string, header map[string]string, body []byte) tape.Answer {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.env["LAZULI_URL"]+target, strings.NewReader(string(body)))
	if err != nil {
		h.t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	req.Header.Set("ApiKey", h.env["LAZULI_API_KEY"])
	resp, err := h.http.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return tape.Answer{Status: resp.StatusCode, Header: resp.Header, Body: raw}
}
