// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// Names of headers and states of long-running operations, from
// learn.microsoft.com/azure/azure-resource-manager/management/async-operations.
const (
	headerAsync     = "Azure-AsyncOperation"
	headerOperation = "Operation-Location"
	headerLocation  = "Location"

	stateSucceeded = "succeeded"
	stateFailed    = "failed"
	stateCanceled  = "canceled"
	stateCancelled = "cancelled"
	stateDeleting  = "deleting"
)

// reply is what we read of Azure's answers, resources and operations alike.
type reply struct {
	Status     string          `json:"status"`
	Error      *armError       `json:"error"`
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Properties replyProperties `json:"properties"`
}

type replyProperties struct {
	ProvisioningState string `json:"provisioningState"`
	IPAddress         string `json:"ipAddress"`
	DNSSettings       struct {
		FQDN string `json:"fqdn"`
	} `json:"dnsSettings"`
	IPConfigurations []struct {
		Properties struct {
			PrivateIPAddress string `json:"privateIPAddress"`
		} `json:"properties"`
	} `json:"ipConfigurations"`
	InstanceView struct {
		Statuses []instanceStatus `json:"statuses"`
	} `json:"instanceView"`
}

type instanceStatus struct {
	Code    string `json:"code"`
	Level   string `json:"level"`
	Display string `json:"displayStatus"`
	Message string `json:"message"`
}

// facts returns what a resource has that only Azure knows.
func (p replyProperties) facts() map[string]string {
	out := map[string]string{}
	if p.IPAddress != "" {
		out[resource.FactIPAddress] = p.IPAddress
	}
	if p.DNSSettings.FQDN != "" {
		out[resource.FactFQDN] = p.DNSSettings.FQDN
	}
	if len(p.IPConfigurations) > 0 {
		if ip := p.IPConfigurations[0].Properties.PrivateIPAddress; ip != "" {
			out[resource.FactPrivateIP] = ip
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// stateOf maps a provisioningState or an operation's status. The terminal
// states are Succeeded, Failed and Canceled, none at all means done, and
// whatever else a provider makes up means that it goes on.
func stateOf(s string) resource.State {
	switch strings.ToLower(s) {
	case "", stateSucceeded:
		return resource.StateSucceeded
	case stateFailed, stateCanceled, stateCancelled:
		return resource.StateFailed
	case stateDeleting:
		return resource.StateDeleting
	}
	return resource.StateWorking
}

// capture runs an SDK call and returns the reply on the wire. Where Azure
// accepted, the SDK's own opinion of the reply does not count: it wants to poll
// by itself, and gives up where it cannot.
func capture(ctx context.Context, do func(context.Context) error) (*http.Response, error) {
	var resp *http.Response
	err := do(policy.WithCaptureResponse(ctx, &resp))
	if resp != nil && resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	if err == nil {
		err = errors.New("no answer from the transport")
	}
	return resp, err
}

// read decodes a reply; an empty body is an empty reply.
func read(resp *http.Response) (reply, error) {
	var r reply
	b, err := runtime.Payload(resp)
	if err != nil {
		return r, fmt.Errorf("read the answer: %w", err)
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, errors.New("the answer is not JSON")
	}
	return r, nil
}

func pollURLOf(h http.Header) string {
	for _, name := range []string{headerAsync, headerOperation, headerLocation} {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}

// accepted interprets the reply to a PUT. A non-terminal provisioningState
// makes it a long-running operation; a 201 or a header alone does not.
func accepted(resp *http.Response) (resource.Result, error) {
	r, err := read(resp)
	if err != nil {
		return resource.Result{}, err
	}
	poll := pollURLOf(resp.Header)
	state := stateOf(r.Properties.ProvisioningState)
	if resp.StatusCode == http.StatusAccepted || r.Properties.ProvisioningState == "" && poll != "" {
		state = resource.StateWorking
	}
	out := resource.Result{State: state, Facts: r.Properties.facts()}
	switch state {
	case resource.StateFailed:
		out.Err = failedReply(r, resp.Header)
	case resource.StateWorking, resource.StateDeleting:
		out.PollURL = poll
		out.RetryAfter = retryAfter(resp.Header, time.Now)
	case resource.StateSucceeded, resource.StateAbsent, resource.StateUnknown:
	}
	return out, nil
}

// deleted interprets the reply to a DELETE.
func deleted(resp *http.Response) resource.Result {
	poll := pollURLOf(resp.Header)
	if resp.StatusCode == http.StatusNoContent || poll == "" && resp.StatusCode == http.StatusOK {
		return resource.Result{State: resource.StateAbsent}
	}
	return resource.Result{
		State: resource.StateDeleting, PollURL: poll, RetryAfter: retryAfter(resp.Header, time.Now),
	}
}

// described interprets the reply to a GET of a resource.
func described(resp *http.Response) (resource.Result, error) {
	r, err := read(resp)
	if err != nil {
		return resource.Result{}, err
	}
	out := resource.Result{State: stateOf(r.Properties.ProvisioningState), Facts: r.Properties.facts()}
	if out.State == resource.StateFailed {
		out.Err = failedReply(r, resp.Header)
	}
	return out, nil
}

// failedReply explains a reply in a failed state: by its error, by the instance
// view of a VM (ProvisioningState/failed/<code>), or by the state alone.
func failedReply(r reply, h http.Header) *lazuli.Error {
	if r.Error != nil {
		return explainOperation(*r.Error, h)
	}
	const marker = "provisioningstate/failed/"
	for _, s := range r.Properties.InstanceView.Statuses {
		if strings.HasPrefix(strings.ToLower(s.Code), marker) {
			return explainOperation(armError{Code: s.Code[len(marker):], Message: s.Message}, h)
		}
	}
	status := r.Status
	if status == "" {
		status = r.Properties.ProvisioningState
	}
	if strings.EqualFold(status, stateCanceled) || strings.EqualFold(status, stateCancelled) {
		return explainOperation(armError{Code: "Canceled", Message: "the operation ended as " + status}, h)
	}
	return explainOperation(armError{Message: "the operation ended as " + status + " and gives no reason"}, h)
}

// Poll looks once at a long-running operation, at the URL that Put or Delete
// returned, which must be of the cloud's own Resource Manager
// (CodeAzureRejected otherwise, and nothing is sent). States: StateWorking with
// the URL to use next, StateSucceeded (also of a delete: the resource is gone),
// StateFailed with Err, and StateUnknown when Azure no longer knows the
// operation: read the resource by Get. An error means that nothing was learnt.
func (c *Client) Poll(ctx context.Context, t resource.Target, pollURL string) (resource.Result, error) {
	const act = "poll an operation"
	set, err := c.clientsOf(t)
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	if !sameHost(set.endpoint, pollURL) {
		return resource.Result{}, explain(act, t.ClientSecret, foreignHost(hostOf(pollURL), set.endpoint))
	}
	req, err := runtime.NewRequest(with(ctx, t, ClassPoll), http.MethodGet, pollURL)
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	resp, err := set.raw.Pipeline().Do(req)
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	out, err := polled(resp, pollURL)
	if err != nil {
		return resource.Result{}, explain(act, t.ClientSecret, err)
	}
	out.Err = scrub(out.Err, t.ClientSecret)
	return out, nil
}

// polled interprets the reply to a poll, of either style.
func polled(resp *http.Response, pollURL string) (resource.Result, error) {
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return resource.Result{State: resource.StateUnknown}, nil
	case resp.StatusCode >= http.StatusBadRequest:
		err := runtime.NewResponseError(resp)
		if ended(resp.StatusCode) { // the Location style tells a failed operation by its status
			return resource.Result{State: resource.StateFailed, Err: Explain(err)}, nil
		}
		return resource.Result{}, err
	}
	r, err := read(resp)
	if err != nil {
		return resource.Result{}, err
	}
	next := pollURL
	state := resource.StateSucceeded
	switch {
	case r.Status != "": // the Azure-AsyncOperation style
		if state = stateOf(r.Status); state == resource.StateDeleting {
			state = resource.StateWorking
		}
		if v := resp.Header.Get(headerAsync); v != "" {
			next = v
		}
	case resp.StatusCode == http.StatusAccepted:
		state = resource.StateWorking
		if v := resp.Header.Get(headerLocation); v != "" {
			next = v
		}
	case r.Properties.ProvisioningState != "":
		state = stateOf(r.Properties.ProvisioningState)
	}
	out := resource.Result{State: state, Facts: r.Properties.facts()}
	switch state {
	case resource.StateFailed:
		out.Err = failedReply(r, resp.Header)
	case resource.StateWorking, resource.StateDeleting:
		out.PollURL, out.RetryAfter = next, retryAfter(resp.Header, time.Now)
	case resource.StateSucceeded, resource.StateAbsent, resource.StateUnknown:
	}
	return out, nil
}

// ended reports a status that is the operation's own end, not an obstacle to asking.
func ended(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return status < http.StatusInternalServerError
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "an address that is no URL"
	}
	return u.Host
}

// scrub takes a secret out of an explained error.
func scrub(e *lazuli.Error, secret lazuli.Secret) *lazuli.Error {
	if e == nil {
		return nil
	}
	return explain("", secret, e)
}
