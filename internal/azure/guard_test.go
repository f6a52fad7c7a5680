// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// leased is a context under a lease that can be lost; asked counts the times it was asked for.
func leased(t *testing.T) (ctx context.Context, lose func(), asked *atomic.Int64) {
	t.Helper()
	var lost atomic.Bool
	asked = &atomic.Int64{}
	return lazuli.WithGuard(t.Context(), func() error {
		asked.Add(1)
		if lost.Load() {
			return lazuli.Errorf(lazuli.CodeFenced, "the lease is over")
		}
		return nil
	}), func() { lost.Store(true) }, asked
}

func groupSpec() resource.Spec {
	return resource.SecurityGroup{Common: resource.Common{ID: idOf(resource.TypeSecurityGroup, "g"), Location: region}}
}

// TestNothingQueuedLeavesAfterTheLease: what waits for its place when the lease
// is lost is not written; reads are made.
func TestNothingQueuedLeavesAfterTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const inFlight, queued = 2, 5
		hold := make(chan struct{})
		wire := &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !entra(w, r) {
				<-hold
				reply(w, http.StatusOK, `{}`)
			}
		})}
		c := azure.New(azure.Config{Transport: wire, Concurrency: inFlight})
		ctx, lose, _ := leased(t)
		answers := make(chan error, inFlight+queued)
		for range inFlight + queued {
			go func() {
				_, err := c.Put(ctx, target(), groupSpec())
				answers <- err
			}()
		}
		synctest.Wait()
		lose()
		close(hold)
		codes := map[lazuli.Code]int{}
		for range inFlight + queued {
			codes[lazuli.CodeOf(<-answers)]++
		}
		if diff := cmp.Diff(map[lazuli.Code]int{"": inFlight, lazuli.CodeFenced: queued}, codes); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		_, err := c.Delete(ctx, target(), aDisk, false)
		if lazuli.CodeOf(err) != lazuli.CodeFenced || resource.Retryable(err) || !strings.Contains(err.Error(), "the lease is over") {
			t.Errorf("a deletion after the lease: %v", err)
		}
		if n := len(wire.arm()); n != inFlight {
			t.Errorf("%d writes were sent, want the %d that were under way", n, inFlight)
		}
		if _, err := c.Get(ctx, target(), aDisk); err != nil {
			t.Errorf("a read after the lease: %v", err)
		}
		if s := stats(c, "Microsoft.Network", azure.ClassWrite); s.InFlight != 0 {
			t.Errorf("%d places of the budget are not given back", s.InFlight)
		}
	})
}

// TestNoBodyAfterTheLease: the lease is lost while a connection is made, and
// what Azure gets is no whole request, over either version of HTTP.
func TestNoBodyAfterTheLease(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			var whole atomic.Int64
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				base := "https://" + r.Host
				switch {
				case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
					reply(w, http.StatusOK, fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q,"authorization_endpoint":%q}`, base+"/t", base+"/t/token", base+"/t/a"))
				case strings.HasSuffix(r.URL.Path, "/token"):
					reply(w, http.StatusOK, `{"token_type":"Bearer","expires_in":3599,"access_token":"a-token"}`)
				default:
					if _, err := io.ReadAll(r.Body); err == nil {
						whole.Add(1)
					}
					reply(w, http.StatusOK, `{}`)
				}
			}))
			srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			srv.EnableHTTP2 = http2
			srv.StartTLS()
			defer srv.Close()
			c := azure.New(azure.Config{Transport: srv.Client()})
			to := target()
			to.Cloud = resource.Cloud{Name: "sim", ARMURL: srv.URL, AuthorityURL: srv.URL}
			ctx, lose, asked := leased(t)
			if _, err := c.Put(ctx, to, groupSpec()); err != nil || whole.Load() != 1 || asked.Load() < 2 {
				t.Fatalf("under the lease: %v, %d whole requests; asked %d times, want before the call and at its body", err, whole.Load(), asked.Load())
			}
			once := lazuli.WithGuard(t.Context(), func() error {
				defer lose()
				return lazuli.MayWrite(ctx) // yes, the first time
			})
			if _, err := c.Put(once, to, groupSpec()); lazuli.CodeOf(err) != lazuli.CodeFenced {
				t.Errorf("the answer is %v, want that the lease is over", err)
			}
			srv.Close() // waits for its handlers
			if n := whole.Load(); n != 1 {
				t.Errorf("%d whole requests, want the first alone", n)
			}
		})
	}
}
