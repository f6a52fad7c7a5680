// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Status of an operation (learn.microsoft.com, asynchronous operations).
const (
	opRunning   = "InProgress"
	opSucceeded = "Succeeded"
	opFailed    = "Failed"
	opCanceled  = "Canceled"
)

// operation is a long-running operation.
type operation struct {
	id, subscription, namespace, location string
	typ, cluster                          string // for the accounting
	resource                              string // id
	name                                  string // as in "PutSubnetOperation"
	status                                string
	start, end                            time.Time
	err                                   *apiError
	polls                                 int
	retry                                 []time.Duration // Retry-After of the reply and of the first polls
	always                                time.Duration   // Retry-After of every poll
	stuck                                 bool
	forced                                *apiError // by a fault
	done                                  func(err *apiError)
	properties                            object
	tenant                                string
}

// start begins an operation on a resource.
func (c *call) start(resource, name string, retry ...time.Duration) *operation {
	s := c.sim
	op := &operation{
		id: s.guid(), subscription: c.target.subscription, namespace: c.target.namespace, location: c.location(), typ: c.typ,
		cluster: c.cluster, resource: resource, name: name, status: opRunning, start: c.now, retry: retry, tenant: c.principal.TenantID,
	}
	if c.fault != nil {
		switch c.fault.rule.Kind {
		case FaultStuck:
			op.stuck = true
		case FaultFail:
			code, text := c.fault.rule.Code, c.fault.rule.Message
			if code == "" {
				code, text = "InternalServerError", "An error occurred."
			}
			op.forced = conflict(code, "%s", text)
		}
	}
	s.ops[op.id] = op
	c.op = op
	return op
}

// finishAfter ends an operation after d, with what failed.
func (s *Simulator) finishAfter(op *operation, d time.Duration, err *apiError) {
	s.after(d, func() { s.finish(op, err) })
}

// opMemory is how long a finished operation can be asked for.
const opMemory = 6 * time.Hour

func (s *Simulator) finish(op *operation, err *apiError) {
	if op.status != opRunning || op.stuck {
		return
	}
	if op.forced != nil {
		err = op.forced
	}
	op.status, op.end, op.err = opSucceeded, s.now(), err
	if err != nil {
		op.status = opFailed
	}
	if op.done != nil {
		op.done(err)
	}
	s.after(opMemory, func() { delete(s.ops, op.id) })
}

// cancel ends an operation that something newer overtook.
func (s *Simulator) cancel(op *operation) {
	if op == nil || op.status != opRunning {
		return
	}
	op.status, op.end, op.stuck = opCanceled, s.now(), false
	op.err = conflict("OperationPreempted", "Operation execution has been preempted by a more recent operation.")
	s.after(opMemory, func() { delete(s.ops, op.id) })
}

func (op *operation) url(c *call, form string) string {
	base := c.base + "/subscriptions/" + op.subscription
	if op.namespace == "" {
		return base + "/operationresults/" + op.id + "?api-version=" + url.QueryEscape(c.version)
	}
	return base + "/providers/" + op.namespace + "/locations/" + op.location + "/" + form + "/" + op.id +
		"?api-version=" + url.QueryEscape(c.version)
}

// announce puts the headers of an operation on the reply that started it.
func (c *call) announce(rep *reply, op *operation, async, location bool) *reply {
	if rep.header == nil {
		rep.header = http.Header{}
	}
	if async {
		rep.header.Set("Azure-AsyncOperation", op.url(c, "operations"))
	}
	if location {
		rep.header.Set("Location", op.url(c, "operationResults"))
	}
	c.comeBack(rep, op)
	return rep
}

// comeBack sends the Retry-After that belongs to this poll. Azure sends none after the first ones; the fast mode
// always sends one, because clients wait 30 s of real time otherwise.
func (c *call) comeBack(rep *reply, op *operation) {
	const usual = 5 * time.Second
	switch {
	case op.polls < len(op.retry):
		c.sim.retryAfter(rep.header, op.retry[op.polls])
	case op.always > 0:
		c.sim.retryAfter(rep.header, op.always)
	case c.sim.cfg.Retry == RetryFast:
		c.sim.retryAfter(rep.header, usual)
	}
}

// pollID is the id of the operation that a path asks for, or "".
func (c *call) pollID() string {
	t := c.target
	if t.namespace == "" {
		if len(t.rest) == 2 && strings.EqualFold(t.rest[0], "operationresults") {
			return strings.ToLower(t.rest[1])
		}
		return ""
	}
	form := []string{"operations", "operationresults", "operationstatuses"}
	if len(t.types) == 2 && len(t.names) == 2 && strings.EqualFold(t.types[0], "locations") && slices.Contains(form, strings.ToLower(t.types[1])) {
		return strings.ToLower(t.names[1])
	}
	return ""
}

func (c *call) poll(id string) (*reply, *apiError) {
	op := c.sim.ops[id]
	if op == nil || !strings.EqualFold(op.subscription, c.target.subscription) {
		return nil, fail(http.StatusNotFound, "OperationNotFound", "The operation '%s' could not be found.", id)
	}
	op.polls++
	if len(c.target.types) == 2 && strings.EqualFold(c.target.types[1], "operations") {
		return c.pollStatus(op), nil
	}
	// The Location style: 202 while it runs, then the outcome of the operation itself.
	switch op.status {
	case opRunning:
		rep := status(http.StatusAccepted).with("Location", op.url(c, "operationResults"))
		c.comeBack(rep, op)
		return rep, nil
	case opSucceeded:
		if op.properties != nil {
			return ok(op.properties), nil
		}
		if r := c.sim.store.owner(op.resource); r != nil && r.key() == keyOf(op.resource) {
			return ok(c.sim.render(r)), nil
		}
		if op.namespace == "" {
			return status(http.StatusOK), nil
		}
		return status(http.StatusNoContent), nil
	default:
		return nil, op.err
	}
}

// pollStatus is the Azure-AsyncOperation style: always 200, a failure is in the body.
func (c *call) pollStatus(op *operation) *reply {
	body := object{"id": c.target.path, "name": op.id, "status": op.status, "startTime": op.start.Format(time.RFC3339Nano)}
	rep := ok(body)
	rep.header = http.Header{}
	if op.status == opRunning {
		c.comeBack(rep, op)
	} else {
		body["endTime"] = op.end.Format(time.RFC3339Nano)
		if op.properties != nil {
			body["properties"] = object{"output": op.properties}
		}
	}
	if op.err != nil {
		body["error"] = op.err.inner()
	}
	return rep
}
