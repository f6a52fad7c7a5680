// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/lazuli-dev/lazuli"
)

// guardPolicy lets a write out only while lazuli.MayWrite lets it. It stands
// behind the budget's queue and behind the token, both of which may have waited
// for long, and asks again when the body is read, which is when there is a
// connection: without its body no PUT has an effect. Reads may always go out.
type guardPolicy struct{}

// Do implements policy.Policy.
func (guardPolicy) Do(req *policy.Request) (*http.Response, error) {
	raw := req.Raw()
	if class := bucketOf(raw).Class; class != ClassWrite && class != ClassDelete || mutated("zombieWrites") {
		return req.Next()
	}
	g := &guard{ctx: raw.Context()}
	if err := g.ask(); err != nil {
		return nil, err
	}
	if raw.Body != nil && raw.Body != http.NoBody {
		raw.Body = &guardedBody{ReadCloser: raw.Body, guard: g}
	}
	if again := raw.GetBody; again != nil { // of a transport that tries a second connection
		raw.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			return &guardedBody{ReadCloser: body, guard: g}, err
		}
	}
	resp, err := req.Next()
	if refused := g.refusal(); err != nil && refused != nil {
		err = refused // in place of what the transport makes of it
	}
	return resp, err
}

// guard asks on behalf of one request, and remembers a no.
type guard struct {
	ctx context.Context //nolint:containedctx // of the request, whose body has no other way to it

	mu      sync.Mutex
	refused error
}

func (g *guard) ask() error {
	err := lazuli.MayWrite(g.ctx)
	if err != nil {
		g.mu.Lock()
		g.refused = err
		g.mu.Unlock()
	}
	return err
}

func (g *guard) refusal() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// guardedBody is a body that only flows while it may.
type guardedBody struct {
	io.ReadCloser

	guard *guard
}

// Read implements io.Reader.
func (b *guardedBody) Read(p []byte) (int, error) {
	if err := b.guard.ask(); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p) // a reader hands io.EOF on as it is
}
