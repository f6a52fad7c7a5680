// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds a request's body, as ARM does (4 MB).
const maxBody = 4 << 20

// frontRegion is where ARM answers; its rate limits count per region of the endpoint.
const frontRegion = "WESTEUROPE"

// Classes of calls in the accounting.
const (
	classRead   = "read"
	classWrite  = "write"
	classDelete = "delete"
	classPoll   = "poll"
	classToken  = "token"
)

// call is one request to ARM.
type call struct {
	sim       *Simulator
	method    string
	base      string // scheme and host that the client used
	url       *url.URL
	query     url.Values
	header    http.Header
	target    target
	body      object
	version   string
	principal *Principal
	now       time.Time
	class     string
	typ       string // for the accounting
	cluster   string
	requestID string
	trace     string // correlation id
	out       http.Header
	fault     *faultState
	op        *operation // that it started
	throttled bool
	early     bool
}

// reply is an answer before it is written. A nil body is an empty one.
type reply struct {
	status int
	body   any
	header http.Header
}

func ok(body any) *reply { return &reply{status: http.StatusOK, body: body} }

func status(code int) *reply { return &reply{status: code} }

func (r *reply) with(key, value string) *reply {
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set(key, value)
	return r
}

func (s *Simulator) serveHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.ToLower(r.URL.Path)
	switch {
	case strings.HasPrefix(path, "/_sim/"):
		s.serveAdmin(w, r)
	case path == "/metadata/endpoints":
		writeJSON(w, http.StatusOK, endpoints(baseOf(r)))
	case path == "/common/discovery/instance", strings.HasSuffix(path, "/.well-known/openid-configuration"),
		strings.HasSuffix(path, "/oauth2/v2.0/token"):
		s.serveEntra(w, r)
	default:
		s.serveARM(w, r)
	}
}

func baseOf(r *http.Request) string {
	scheme := "https"
	if r.TLS == nil && r.URL.Scheme == "http" {
		scheme = "http"
	}
	return scheme + "://" + r.Host
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(code)
	_, _ = w.Write(encode(body)) // The client may have gone.
}

func (s *Simulator) serveARM(w http.ResponseWriter, r *http.Request) {
	c, bad := s.newCall(w, r)
	rep := s.perform(r.Context(), c, bad)
	if rep == nil { // The client has gone, or a fault swallows the answer.
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	maps.Copy(h, c.out)
	maps.Copy(h, rep.header)
	if rep.body == nil || r.Method == http.MethodHead {
		w.WriteHeader(rep.status)
		return
	}
	writeJSON(w, rep.status, rep.body)
}

// newCall reads a request whole. Nothing of the simulator's state is touched.
func (s *Simulator) newCall(w http.ResponseWriter, r *http.Request) (*call, *apiError) {
	c := &call{
		sim: s, method: r.Method, base: baseOf(r), url: r.URL, query: r.URL.Query(), header: r.Header,
		target: parsePath(r.URL.Path), out: http.Header{}, version: r.URL.Query().Get("api-version"),
		trace: r.Header.Get("x-ms-correlation-request-id"),
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		c.class = classRead
	case http.MethodDelete:
		c.class = classDelete
	case http.MethodPut, http.MethodPatch, http.MethodPost:
		c.class = classWrite
	default:
		return c, fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The HTTP method '%s' is not supported.", r.Method)
	}
	if c.class != classWrite || r.Body == nil {
		return c, nil
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return c, fail(http.StatusRequestEntityTooLarge, "RequestContentTooLarge",
			"The request content size exceeds the maximum size of 4 MB.")
	}
	if err != nil {
		return c, invalidContent(err)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(raw, &c.body); err != nil {
		return c, invalidContent(err)
	}
	return c, nil
}

func invalidContent(err error) *apiError {
	return badRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: '%s'.", err)
}

// perform is a request from the network to the answer. It is nil when nobody gets one.
func (s *Simulator) perform(ctx context.Context, c *call, bad *apiError) *reply {
	began := s.Now()
	half := s.prepare(c)
	if err := s.sleep(ctx, half); err != nil {
		return nil
	}
	s.advance()
	rep := s.handle(c, bad)
	s.advance() // What the handler queued for now, such as the stop of a machine, is done before the client hears of it.
	if err := s.sleep(ctx, half); err != nil {
		return nil
	}
	s.keep(c, began, rep)
	return s.afterFault(ctx, c, rep)
}

// prepare finds the caller, the fault and how long the request takes; half of that passes before it has effect.
func (s *Simulator) prepare(c *call) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.requestID = s.guid()
	if c.trace == "" {
		c.trace = c.requestID
	}
	if ses, ok := s.world.tokens[bearer(c.header)]; ok {
		c.principal = ses.principal
	}
	c.fault = s.matchFault(c)
	dist := "arm.get"
	k := s.kinds[c.target.typeKey()]
	switch {
	case c.method == http.MethodPut && c.target.group != "" && c.target.namespace == "":
		dist = "group.put"
	case c.method == http.MethodPut && k != nil && k.puts == "" && k.latency != "":
		dist = k.latency + ".put" // The write itself is synchronous and takes its time.
	case c.method == http.MethodPut && c.target.typeKey() == typeVM:
		dist = "vm.accept"
	case c.class != classRead:
		dist = "arm.write"
	case c.target.collection() || c.target.namespace == "":
		dist = "arm.list"
	}
	d := s.draw(dist, c.method+" "+c.target.key())
	if c.fault != nil {
		d += time.Duration(c.fault.rule.Delay)
	}
	return d / 2
}

// handle is the part of a request that sees and changes the state.
func (s *Simulator) handle(c *call, bad *apiError) *reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.now = s.now()
	c.typ = c.accountType()
	rep, err := c.guarded(bad)
	if err != nil {
		rep = &reply{status: err.status, body: err.body(), header: http.Header{}}
		if err.retry > 0 {
			s.retryAfter(rep.header, err.retry)
		}
		if err.challenge != "" {
			rep.header.Set("WWW-Authenticate", err.challenge)
		}
	}
	c.out.Set("x-ms-request-id", c.requestID)
	c.out.Set("x-ms-correlation-request-id", c.trace)
	c.out.Set("x-ms-routing-request-id", frontRegion+":"+c.now.Format("20060102T150405Z")+":"+c.requestID)
	c.out.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	c.out.Set("X-Content-Type-Options", "nosniff")
	s.calls.add(c, rep.status)
	s.log.Debug("arm call", "method", c.method, "path", c.target.path, "status", rep.status, "principal", c.principalName())
	return rep
}

// guarded are the checks that every call passes, in ARM's order.
func (c *call) guarded(bad *apiError) (*reply, *apiError) {
	if bad != nil {
		return nil, bad
	}
	if err := c.authenticate(); err != nil {
		return nil, err
	}
	if err := c.checkVersion(); err != nil {
		return nil, err
	}
	if err := c.checkSubscription(); err != nil {
		return nil, err
	}
	if rep := c.beforeFault(); rep != nil {
		return rep, nil
	}
	if err := c.checkLimits(); err != nil {
		return nil, err
	}
	return c.route()
}

func (c *call) principalName() string {
	switch {
	case c.principal == nil:
		return ""
	case c.principal.Name != "":
		return c.principal.Name
	default:
		return c.principal.ClientID
	}
}

func bearer(h http.Header) string {
	kind, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func (c *call) authenticate() *apiError {
	tenant := "common"
	if v := c.sim.world.subscriptions[strings.ToLower(c.target.subscription)]; v != nil {
		tenant = v.TenantID
	}
	challenge := `Bearer authorization_uri="` + c.base + "/" + tenant + `", error="invalid_token", error_description="The access token is missing or invalid."`
	token := bearer(c.header)
	if token == "" {
		e := fail(http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
		e.challenge = challenge
		return e
	}
	ses, known := c.sim.world.tokens[token]
	switch {
	case !known:
		e := fail(http.StatusUnauthorized, "InvalidAuthenticationToken", "The access token is invalid.")
		e.challenge = challenge
		return e
	case !time.Now().Before(ses.expires):
		e := fail(http.StatusUnauthorized, "ExpiredAuthenticationToken",
			"The access token expiry UTC time '%s' is earlier than current UTC time '%s'.",
			ses.expires.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
		e.challenge = challenge
		return e
	}
	c.principal = ses.principal
	return nil
}

func (c *call) checkSubscription() *apiError {
	if c.target.subscription == "" {
		return nil
	}
	v := c.sim.world.subscriptions[strings.ToLower(c.target.subscription)]
	if v == nil {
		return fail(http.StatusNotFound, "SubscriptionNotFound", "The subscription '%s' could not be found.", c.target.subscription)
	}
	if !strings.EqualFold(v.TenantID, c.principal.TenantID) {
		e := fail(http.StatusUnauthorized, "InvalidAuthenticationTokenTenant",
			"The access token is from the wrong issuer. It must match the tenant '%s' associated with this subscription.", v.TenantID)
		e.challenge = `Bearer authorization_uri="` + c.base + "/" + v.TenantID + `", error="invalid_token"`
		return e
	}
	return nil
}

// retryAfter asks the client to come back after d of simulated time. Azure sends whole seconds.
func (s *Simulator) retryAfter(h http.Header, d time.Duration) {
	wait := time.Duration(float64(d) / s.cfg.Speed)
	h.Set("Retry-After", strconv.Itoa(int(max(1, math.Ceil(wait.Seconds())))))
	if s.cfg.Retry == RetryFast {
		ms := strconv.FormatInt(max(1, wait.Milliseconds()), 10)
		h.Set("retry-after-ms", ms)
		h.Set("x-ms-retry-after-ms", ms)
	}
}
