// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// A request whose answer was lost comes again: it must get the answer, and
// nothing else may.
func TestRepeatedCreation(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct{ path, change, other string }{
		{"/v1/cloudaccounts/azure", "spec.clientSecret", "another-secret"},
		{"/v1/clusterprofiles", "metadata.labels.owner", "you"},
	} {
		for _, tt := range []struct {
			reason string
			want   int
			do     func(h *hub, body object) (header []string)
		}{
			{"at once", http.StatusCreated, func(*hub, object) []string { return nil }},
			{"with an explicit scope in the query too", http.StatusConflict, func(*hub, object) []string { return []string{"?x=1"} }},
			{"just within the window", http.StatusCreated, func(h *hub, _ object) []string { h.passed.Add(15*60 - 1); return nil }},
			{"too late", http.StatusConflict, func(h *hub, _ object) []string { h.passed.Add(15 * 60); return nil }},
			{"another body", http.StatusConflict, func(_ *hub, b object) []string { set(t, b, kind.change, kind.other); return nil }},
			{"another case of the name", http.StatusConflict, func(_ *hub, b object) []string { set(t, b, "metadata.name", "INFRA"); return nil }},
			{"another caller", http.StatusConflict, func(h *hub, _ object) []string { return []string{"ApiKey", h.key("bob", "", true)} }},
			{"after a change", http.StatusConflict, func(h *hub, _ object) []string { h.touchAll(); return nil }},
		} {
			h := newHub(t)
			request := func() object {
				if kind.path == "/v1/clusterprofiles" {
					return h.profileBody("infra")
				}
				return accountBody("infra", "project")
			}
			first := h.want(http.StatusCreated, "POST", kind.path, request()).uid(t)
			body, path := request(), kind.path
			header := tt.do(h, body)
			if len(header) == 1 {
				path, header = path+header[0], nil
			}
			a := h.send("POST", path, body, header...)
			if a.status != tt.want {
				t.Fatalf("%s: status %d, want %d: %s", tt.reason, a.status, tt.want, a.body)
			}
			if tt.want == http.StatusCreated && a.uid(t) != first {
				t.Errorf("%s: another uid", tt.reason)
			}
			if tt.want == http.StatusConflict && a.err(t).Code != "DuplicateName" {
				t.Errorf("%s: %s", tt.reason, a.body)
			}
		}
	}
}

// touchAll writes all accounts and profiles once more.
func (h *hub) touchAll() {
	h.t.Helper()
	err := h.store.Update(h.t.Context(), func(tx store.Tx) error {
		for _, o := range []lazuli.Object{&lazuli.Account{}, &lazuli.Profile{}} {
			page, err := tx.Query(h.t.Context(), store.Query{Kind: o.Kind()})
			if err != nil {
				return err
			}
			for _, r := range page.Rows {
				if err := tx.Get(h.t.Context(), r.Meta.UID, o); err != nil {
					return err
				}
				if err := tx.Update(h.t.Context(), o); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestConcurrentCreationsAreOne(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	body, err := json.Marshal(accountBody("same", "project"))
	if err != nil {
		t.Fatal(err)
	}
	uids := make(chan string, 8)
	var wg sync.WaitGroup
	for range cap(uids) {
		wg.Go(func() {
			a := h.send("POST", "/v1/cloudaccounts/azure", body)
			if a.status != http.StatusCreated {
				t.Errorf("status %d: %s", a.status, a.body)
				return
			}
			uids <- a.uid(t)
		})
	}
	wg.Wait()
	close(uids)
	seen := map[string]bool{}
	for u := range uids {
		seen[u] = true
	}
	if len(seen) != 1 || h.counts()[lazuli.KindAccount] != 1 {
		t.Errorf("%d uids, %d accounts", len(seen), h.counts()[lazuli.KindAccount])
	}
}

// What is stored of a request must not let anybody try secrets against it.
func TestDigestIsSealed(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	uid := h.want(http.StatusCreated, "POST", "/v1/cloudaccounts/azure", accountBody("az", "project")).uid(t)
	var acc lazuli.Account
	if err := h.store.Get(t.Context(), uid, &acc); err != nil {
		t.Fatal(err)
	}
	digest, err := h.seal.Unseal(acc.Creation.Digest, lazuli.CreationAAD(uid))
	if err != nil || len(digest) != sha256.Size {
		t.Fatalf("%d bytes, %v", len(digest), err)
	}
	raw, err := json.Marshal(acc)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte(base64.StdEncoding.EncodeToString(digest))) || strings.Contains(string(raw), hex.EncodeToString(digest)) {
		t.Error("the digest is stored in clear")
	}
}
