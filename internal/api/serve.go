// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"golang.org/x/time/rate"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// route is a row of the table of routes.
type route struct {
	Method     string
	Pattern    string
	Operation  string // operation id of Palette's spec, or ours
	Permission auth.Permission
	Tenant     bool   // the permission has to hold in the tenant, in a project does not suffice
	Status     int    // of success; 204 has no body
	Body       int64  // largest body in bytes; 0 reads none
	File       string // member of a multipart body that holds what the handler reads; "" where the body is JSON
	Mutates    bool   // leaves an audit record
	Public     bool   // needs no credential
	Stream     bool   // answers by itself, for long
	Secret     bool   // has a credential in its path, which no log may have
	Handle     func(*API, *call) (any, error)
}

// call is one request on its way.
type call struct {
	r  *http.Request
	w  http.ResponseWriter // for streams alone
	op string
	id string
	// permission is the route's, which the objects of the request are held
	// against.
	permission auth.Permission
	actor      auth.Actor
	body       []byte
}

func (c *call) ctx() context.Context     { return c.r.Context() }
func (c *call) param(name string) string { return chi.URLParam(c.r, name) }
func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// octets is an answer that is not JSON.
type octets struct {
	data     []byte
	filename string
}

// plain is an answer of text.
type plain string

// document is an answer of YAML.
type document []byte

// rendition is an answer of JSON that is rendered already.
type rendition []byte

const requestIDBytes = 8

// pathForLog is the path of a request as far as it may be logged.
func (rt route) pathForLog(r *http.Request) string {
	if rt.Secret {
		return rt.Pattern
	}
	return shorten(r.URL.Path)
}

func (a *API) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := a.Now()
		c := &call{r: r, w: w, op: rt.Operation, id: a.requestID(), permission: rt.Permission}
		secure(w.Header())
		w.Header().Set("X-Request-Id", c.id)
		status, err := a.answer(rt, c)
		if err != nil {
			status = a.writeError(rt, c, err)
		}
		a.Logger.DebugContext(c.ctx(), "request", "id", c.id, "operation", rt.Operation, "method", r.Method,
			"path", rt.pathForLog(r), "status", status, "actor", c.actor.Name, "duration", a.Now().Sub(started))
	})
}

// answer handles a request up to the answer's last byte, or returns the error
// to answer with.
func (a *API) answer(rt route, c *call) (status int, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler { //nolint:errorlint // the documented way to compare it
			panic(p)
		}
		a.Logger.ErrorContext(c.ctx(), "panic in a handler", "id", c.id, "operation", rt.Operation,
			"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		err = lazuli.Errorf(lazuli.CodeInternal, "handle %s: a panic, logged", rt.Operation)
	}()
	if !rt.Stream {
		select {
		case a.inFlight <- struct{}{}:
			defer func() { <-a.inFlight }()
		default:
			return 0, lazuli.Errorf(lazuli.CodeTooManyRequests, "too many requests are under way")
		}
	}
	if err := a.admit(rt, c); err != nil {
		return 0, err
	}
	if rt.Body > 0 {
		if c.body, err = readBody(c.w, c.r, rt); err != nil {
			return 0, a.audited(rt, c, err)
		}
		if c.body, err = a.shaped(rt.Operation, c.body); err != nil {
			return 0, a.audited(rt, c, err)
		}
	}
	out, err := rt.Handle(a, c)
	if err != nil {
		return 0, a.audited(rt, c, err)
	}
	if rt.Stream {
		return rt.Status, nil
	}
	return rt.Status, a.write(rt, c, out)
}

// shaped holds a body against the contract document, the types of all members,
// choices, and what must be there, and returns it without members that the
// document does not know. What the values mean is the handler's to check.
func (a *API) shaped(operation string, body []byte) ([]byte, error) {
	body, found, err := a.contract.ReadRequest(operation, body)
	if err != nil {
		return nil, fmt.Errorf("check the body of %s: %w", operation, err)
	}
	var f lazuli.Fields
	for _, fault := range found {
		f.Add(orElse(fault.Path, wholeBody), "%s", fault.Message)
	}
	return body, f.Err()
}

// admit authenticates and authorises.
func (a *API) admit(rt route, c *call) error {
	if rt.Public {
		return nil
	}
	actor, err := a.auth.Authenticate(c.ctx(), c.r.Header, c.r.RemoteAddr)
	if err != nil {
		return err
	}
	c.actor = actor
	c.r = c.r.WithContext(auth.WithActor(c.ctx(), actor))
	if !a.limits.allow(actor.Credential()) {
		return lazuli.Errorf(lazuli.CodeTooManyRequests, "this credential sends more than %g requests a second", a.Rate)
	}
	// Whether it has the permission where the object is, the handler finds out:
	// see scope.go.
	if !actor.Anywhere(rt.Permission) || rt.Tenant && !actor.May(rt.Permission, "") {
		return forbidden(rt.Operation, rt.Permission, "")
	}
	return nil
}

// audited records a mutation that was refused. That the record cannot be
// written is logged and hides nothing from the caller.
func (a *API) audited(rt route, c *call, err error) error {
	if !rt.Mutates {
		return err
	}
	rec := c.audit("", "", "")
	rec.Object, rec.Outcome = shorten(c.param("uid")), string(asError(err).Code)
	auditErr := a.Store.Update(c.ctx(), func(tx store.Tx) error { return tx.AppendAudit(c.ctx(), rec) })
	if auditErr != nil {
		a.Logger.ErrorContext(c.ctx(), "write an audit record", "id", c.id, "error", auditErr)
	}
	return err
}

// audit makes the record of a mutation that succeeds with the transaction that
// it is appended in.
func (c *call) audit(kind lazuli.Kind, uid, project string) lazuli.Audit {
	return lazuli.Audit{
		Actor: c.actor.Name, RequestID: c.id, Operation: c.op, Project: project, Kind: kind, Object: uid, Outcome: "ok",
	}
}

func (a *API) write(rt route, c *call, out any) error {
	h := c.w.Header()
	if rt.Status == http.StatusNoContent || rt.Status == http.StatusAccepted {
		c.w.WriteHeader(rt.Status)
		return nil
	}
	var body []byte
	switch out := out.(type) {
	case octets:
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", `attachment; filename="`+out.filename+`"`)
		body = out.data
	case plain:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		body = []byte(out)
	case document:
		h.Set("Content-Type", "application/yaml")
		body = out
	case rendition:
		h.Set("Content-Type", "application/json")
		body = out
	default:
		var err error
		if body, err = json.Marshal(out); err != nil {
			return fmt.Errorf("render the answer of %s: %w", rt.Operation, err)
		}
		h.Set("Content-Type", "application/json")
		body = append(body, '\n')
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(rt.Status)
	if _, err := c.w.Write(body); err != nil {
		a.Logger.DebugContext(c.ctx(), "the caller left before the answer's end", "id", c.id, "error", err)
	}
	return nil
}

func (a *API) writeError(rt route, c *call, err error) int {
	e := asError(err)
	row := errorRow(e.Code)
	level := slog.LevelDebug
	if row.Status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	a.Logger.Log(c.ctx(), level, "request refused", "id", c.id, "operation", rt.Operation, "code", e.Code, "error", err)
	b, merr := json.Marshal(errorBody(e, c.id))
	if merr != nil { // strings only: cannot happen
		b = []byte(`{}`)
	}
	h := c.w.Header()
	setRetryAfter(h, row)
	if row.Status == http.StatusUnauthorized {
		h.Set("Www-Authenticate", "Bearer")
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	c.w.WriteHeader(row.Status)
	if _, werr := c.w.Write(b); werr != nil {
		a.Logger.DebugContext(c.ctx(), "the caller left before the answer's end", "id", c.id, "error", werr)
	}
	return row.Status
}

// secure sets the headers that keep a browser from doing harm with an answer.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

func (a *API) requestID() string {
	var b [requestIDBytes]byte
	if _, err := io.ReadFull(a.Random, b[:]); err != nil {
		return "unknown" // an id for the log is not worth a refusal
	}
	return hex.EncodeToString(b[:])
}

// limiter is a token bucket per API key. Only keys that authenticated get a
// bucket, so their number is bounded.
type limiter struct {
	mu      sync.Mutex
	rate    float64
	burst   int
	now     func() time.Time
	buckets map[string]*rate.Limiter
}

func (l *limiter) allow(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[key]
	if !ok {
		if l.buckets == nil {
			l.buckets = map[string]*rate.Limiter{}
		}
		b = rate.NewLimiter(rate.Limit(l.rate), l.burst)
		l.buckets[key] = b
	}
	return b.AllowN(l.now(), 1)
}
