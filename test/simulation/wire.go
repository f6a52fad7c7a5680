// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

var errReset = errors.New("connection reset by peer")

// wire carries the requests of one process to the simulator, through the
// weather and past the oracle.
type wire struct {
	p    *process
	next *azuresim.Transport
	// closed is until when Azure wants to be left alone, by bucket.
	closed map[string]time.Time
}

const maxSlow = 50 * time.Second

// Do implements policy.Transporter.
func (w *wire) Do(req *http.Request) (*http.Response, error) {
	r := w.p.run
	if r.setup {
		return w.next.Do(req)
	}
	c := newCall(req)
	if !w.p.point("before " + c.String()) {
		return nil, errDead
	}
	resp, fault, err := w.weather(c, req)
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	r.trace.note("%s -> %d %s", c, status, fault)
	r.remember()
	if !w.p.point("after " + c.String()) {
		return nil, errDead
	}
	if err == nil {
		w.close(c, resp)
	}
	if err == nil && c.list {
		r.oracle.listed(resp)
	}
	return resp, err
}

// weather is a request's way to Azure and back.
func (w *wire) weather(c *call, req *http.Request) (*http.Response, Fault, error) {
	r := w.p.run
	sky := r.weather
	if c.token {
		if sky.hits(FaultRefused) {
			sky.met(FaultRefused)
			return nil, FaultRefused, errReset
		}
		resp, err := w.next.Do(req)
		return resp, "", err
	}
	r.oracle.before(w, c)
	if resp, fault, err := w.turnedAway(c, req); fault != "" {
		return resp, fault, err
	}
	if sky.hits(FaultSlow) {
		sky.met(FaultSlow)
		time.Sleep(time.Duration(sky.random.Int64N(int64(maxSlow))))
		if req.Context().Err() != nil {
			return nil, FaultSlow, req.Context().Err()
		}
	}
	r.oracle.reaches(c)
	resp, err := w.next.Do(req)
	if err != nil {
		return nil, "", err
	}
	r.oracle.after(c, resp)
	return w.spoil(c, req, resp)
}

// turnedAway are the faults that keep a request from having any effect.
func (w *wire) turnedAway(c *call, req *http.Request) (*http.Response, Fault, error) {
	sky := w.p.run.weather
	switch {
	case sky.hits(FaultRefused):
		sky.met(FaultRefused)
		return nil, FaultRefused, errReset
	case sky.hits(FaultThrottle):
		sky.met(FaultThrottle)
		return answer(req, http.StatusTooManyRequests, sky.wait(), `{"error":{"code":"SubscriptionRequestsThrottled","message":"slow down"}}`), FaultThrottle, nil
	case sky.hits(FaultThrottle2):
		sky.met(FaultThrottle2)
		wait := 0
		if sky.random.IntN(2) == 0 {
			wait = sky.wait()
		}
		return answer(req, http.StatusTooManyRequests, wait,
			`{"code":"OperationNotAllowed","message":"The server rejected the request because too many requests have been received for this subscription.",`+
				`"details":[{"code":"TooManyRequests","target":"PutVM","message":"{}"}]}`), FaultThrottle2, nil
	case sky.hits(FaultBroken):
		sky.met(FaultBroken)
		status := []int{500, 502, 503, 504}[sky.random.IntN(4)]
		wait := 0
		if status == http.StatusServiceUnavailable && sky.random.IntN(2) == 0 {
			wait = sky.wait()
		}
		return answer(req, status, wait, `{"error":{"code":"InternalServerError","message":"An error occurred."}}`), FaultBroken, nil
	case sky.hits(FaultExpired):
		sky.met(FaultExpired)
		return answer(req, http.StatusUnauthorized, 0, `{"error":{"code":"ExpiredAuthenticationToken","message":"The access token expired."}}`), FaultExpired, nil
	case c.method == http.MethodPut && resource.TypeOf(c.id) == resource.TypePublicIP && strings.HasSuffix(c.id, "-api") && sky.hits(FaultLabel):
		sky.met(FaultLabel)
		return answer(req, http.StatusBadRequest, 0, `{"error":{"code":"DnsRecordInUse","message":"DNS record is already used by another public IP."}}`), FaultLabel, nil
	case c.method == http.MethodDelete && w.p.run.there(c.id) && sky.hits(FaultUndone):
		sky.met(FaultUndone)
		w.p.run.oracle.reaches(c)
		return answer(req, http.StatusAccepted, 0, ""), FaultUndone, nil
	case c.method == http.MethodGet && c.id != "" && sky.hits(FaultStaleGet) && w.p.run.oracle.young(c.id):
		sky.met(FaultStaleGet)
		w.p.run.oracle.toldAbsent(c.id)
		return answer(req, http.StatusNotFound, 0, `{"error":{"code":"ResourceNotFound","message":"The Resource was not found."}}`), FaultStaleGet, nil
	}
	return nil, "", nil
}

// spoil are the faults on the way back.
func (w *wire) spoil(c *call, req *http.Request, resp *http.Response) (*http.Response, Fault, error) {
	r := w.p.run
	sky := r.weather
	switch {
	case sky.hits(FaultLost):
		sky.met(FaultLost)
		return nil, FaultLost, errReset
	case sky.hits(FaultTimeout):
		sky.met(FaultTimeout)
		<-req.Context().Done()
		return nil, FaultTimeout, context.Cause(req.Context())
	case sky.hits(FaultHalf):
		sky.met(FaultHalf)
		return answer(req, http.StatusInternalServerError, 0, `{"error":{"code":"InternalServerError","message":"An error occurred."}}`), FaultHalf, nil
	case c.poll && resp.StatusCode == http.StatusOK && r.stuck(c):
		sky.met(FaultStuck)
		return answer(req, http.StatusOK, 0, `{"status":"InProgress"}`), FaultStuck, nil
	case c.list && resp.StatusCode == http.StatusOK && sky.hits(FaultStaleList):
		if stale := r.staleList(req); stale != nil {
			sky.met(FaultStaleList)
			return stale, FaultStaleList, nil
		}
	}
	return resp, "", nil
}

func (w *Weather) wait() int { return 1 + w.random.IntN(60) }

// close notes what Azure asked for.
func (w *wire) close(c *call, resp *http.Response) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		until := time.Now().Add(time.Duration(s) * time.Second)
		if until.After(w.closed[c.bucket]) {
			w.closed[c.bucket] = until
		}
	}
}

func answer(req *http.Request, status, wait int, body string) *http.Response {
	h := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(wait))
	}
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// call is what a request is about.
type call struct {
	method string
	path   string
	id     string // lower-case, of a single resource; "" for others
	body   []byte
	token  bool // to Entra ID
	poll   bool
	list   bool
	bucket string
}

func (c *call) String() string { return c.method + " " + c.path }

func newCall(req *http.Request) *call {
	path := req.URL.Path
	lower := strings.ToLower(path)
	c := &call{method: req.Method, path: path}
	class := map[string]string{http.MethodGet: "read", http.MethodDelete: "delete"}[req.Method]
	if class == "" {
		class = "write"
	}
	_, tail, typed := strings.Cut(lower, "/providers/")
	provider, rest, _ := strings.Cut(tail, "/")
	switch {
	case strings.Contains(lower, "/oauth2/") || strings.Contains(lower, "/.well-known/"):
		c.token = true
	case strings.Contains(lower, "/operations/") || strings.Contains(lower, "/operationresults/"):
		c.poll, class = true, "poll"
	case strings.HasSuffix(lower, "/resources"):
		c.list, provider = true, "microsoft.resources"
	case typed && strings.Contains(lower, "/resourcegroups/") && strings.Count(rest, "/") == 1:
		c.id = lower
	}
	c.bucket = provider + " " + class
	if req.Body != nil && req.Method == http.MethodPut {
		if b, err := io.ReadAll(req.Body); err == nil {
			c.body = b
			req.Body = io.NopCloser(bytes.NewReader(b))
		}
	}
	return c
}

// snapshot is what Azure held at a time.
type snapshot struct {
	at    time.Time
	state []azuresim.Inventory
}

const longestLag = time.Minute

// remember keeps what Azure holds, for lists that lag behind.
func (r *run) remember() {
	if r.weather.Chance[FaultStaleList] == 0 {
		return
	}
	now := time.Now()
	r.history = append(r.history, snapshot{now, r.sim.Resources()})
	for len(r.history) > 1 && now.Sub(r.history[1].at) > longestLag {
		r.history = r.history[1:]
	}
}

// staleList is a list as it was a while ago; nil when it was not otherwise.
func (r *run) staleList(req *http.Request) *http.Response {
	then := time.Now().Add(-longestLag / 2).Add(-time.Duration(r.weather.random.Int64N(int64(longestLag / 2))))
	if r.plan.oneReplica && then.Before(r.listedTo) {
		then = r.listedTo // one replica answers, and it does not go back in time
	}
	r.listedTo = then
	var old *snapshot
	for i := range r.history {
		if !r.history[i].at.After(then) {
			old = &r.history[i]
		}
	}
	if old == nil {
		return nil
	}
	type row struct {
		ID    string            `json:"id"`
		Name  string            `json:"name"`
		Type  string            `json:"type"`
		Tags  map[string]string `json:"tags,omitempty"`
		State string            `json:"provisioningState"`
	}
	rows := []row{}
	for _, i := range old.state {
		if i.Tags[r.tag] == r.uid {
			rows = append(rows, row{ID: i.ID, Name: resource.NameOf(i.ID), Type: i.Type, State: i.ProvisioningState})
		}
	}
	b, err := json.Marshal(map[string]any{"value": rows})
	if err != nil {
		return nil
	}
	return answer(req, http.StatusOK, 0, string(b))
}

// stuck holds some operations back: Azure has long done the work and does not
// say so.
func (r *run) stuck(c *call) bool {
	until, known := r.held[c.path]
	if !known {
		if r.weather.hits(FaultStuck) {
			const most = 20 * time.Minute
			until = time.Now().Add(time.Duration(r.weather.random.Int64N(int64(most))))
		}
		r.held[c.path] = until
	}
	return until.After(time.Now())
}
