// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

// refusal is the SDK's error for an answer.
func refusal(status int, body string, headers ...string) error {
	rec := httptest.NewRecorder()
	reply(rec, status, body, headers...)
	return runtime.NewResponseError(rec.Result())
}

// TestEveryRow: no row hides behind an earlier one.
func TestEveryRow(t *testing.T) {
	t.Parallel()
	for i, row := range azure.Explanations() {
		code := strings.ReplaceAll(row.Azure, "*", "Any")
		body := map[string]any{"code": code, "message": "words " + row.Text}
		if row.Detail != "" {
			body["details"] = []any{map[string]any{"code": row.Detail, "message": "more"}}
		}
		raw, err := json.Marshal(map[string]any{"error": body})
		if err != nil {
			t.Fatal(err)
		}
		status := row.Status
		if status == 0 {
			status = http.StatusConflict
		}
		got := azure.Explain(refusal(status, string(raw)))
		if got.Code != row.Code || got.Message != row.Cause || got.Remedy != row.Remedy {
			t.Errorf("row %d (%q, HTTP %d) is answered by %q, want %q", i, row.Azure, row.Status, got.Message, row.Cause)
		}
		if resource.Retryable(got) != row.Retryable || resource.ScopeOf(got) != row.Scope {
			t.Errorf("row %d (%q): retryable %v, scope %q", i, row.Azure, resource.Retryable(got), resource.ScopeOf(got))
		}
		if row.Cause == "" || row.Remedy == "" || row.Source == "" || row.Scope == "" || strings.Contains(row.Cause, "failed to") {
			t.Errorf("row %d (%q) is incomplete: %+v", i, row.Azure, row)
		}
	}
}

// TestExplain has the texts that Azure really sends.
func TestExplain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status int
		code   string
		text   string
		detail string
		want   lazuli.Code
		retry  bool
		scope  resource.Scope
	}{
		{409, "OperationNotAllowed", "Operation could not be completed as it results in exceeding approved Total Regional Cores quota. Additional details - Deployment Model: Resource Manager, Location: centralus, Current Limit: 10, Current Usage: 8, Additional Required: 4, (Minimum) New Limit Required: 12.", "", lazuli.CodeAzureQuota, false, resource.ScopeSubscription},
		{409, "OperationNotAllowed", "Operation 'write' is not allowed on VM 'x' since the VM is marked for deletion. You can only retry the Delete operation (or wait for an ongoing one to complete).", "", lazuli.CodeAzureConflict, true, resource.ScopeResource},
		{429, "OperationNotAllowed", "The server rejected the request because too many requests have been received for this subscription.", "TooManyRequests", lazuli.CodeAzureThrottled, true, resource.ScopeSubscription},
		{429, "SubscriptionRequestsThrottled", "Number of requests exceeded the limit.", "", lazuli.CodeAzureThrottled, true, resource.ScopeSubscription},
		{429, "RetryableError", "A retryable error occurred.", "ReferencedResourceNotProvisioned", lazuli.CodeAzureConflict, true, resource.ScopeRequest},
		{409, "SkuNotAvailable", "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: Standard_B2s' is currently not available in location 'eastus'.", "", lazuli.CodeAzureCapacity, false, resource.ScopeSizeZone},
		{409, "ScopeLocked", "The scope 'S' cannot perform delete operation because following scope(s) are locked: 'L'.", "", lazuli.CodeAzureLocked, false, resource.ScopeResource},
		{400, "NicReservedForAnotherVm", "Nic(s) in request is reserved for another Virtual Machine for 180 seconds.", "", lazuli.CodeAzureConflict, true, resource.ScopeResource},
		{403, "LinkedAuthorizationFailed", "The client 'X' with object id 'X' has permission to perform action 'A' on scope 'S'; however, it does not have permission to perform action(s) 'Microsoft.Network/loadBalancers/backendAddressPools/join/action'.", "", lazuli.CodeAzurePermission, true, resource.ScopePrincipal},
		{409, "AnotherOperationInProgress", "Another operation on this or dependent resource is in progress.", "", lazuli.CodeAzureConflict, true, resource.ScopeResource},
		{400, "InUseRouteTableCannotBeDeleted", "Route table is in use.", "", lazuli.CodeAzureConflict, true, resource.ScopeResource},
		{400, "DeploymentFailed", "At least one operation failed.", "ZonalAllocationFailed", lazuli.CodeAzureCapacity, true, resource.ScopeSizeZone},
		{400, "SomethingNobodyHasSeen", "No.", "", lazuli.CodeAzureRejected, false, resource.ScopeResource},
		{409, "SomethingNobodyHasSeen", "Busy.", "", lazuli.CodeAzureConflict, true, resource.ScopeResource},
		{503, "", "", "", lazuli.CodeAzureUnreachable, true, resource.ScopeSubscription},
	} {
		body := fmt.Sprintf(`{"error":{"code":%q,"message":%q}}`, tc.code, tc.text)
		if tc.detail != "" {
			body = fmt.Sprintf(`{"error":{"code":%q,"message":%q,"details":[{"code":%q,"message":"d"}]}}`, tc.code, tc.text, tc.detail)
		}
		got := azure.Explain(refusal(tc.status, body, "x-ms-correlation-request-id", "corr-1", "x-ms-request-id", "req-1"))
		if got.Code != tc.want || azure.Retryable(got) != tc.retry || resource.ScopeOf(got) != tc.scope {
			t.Errorf("%d %s: %s, retryable %v, scope %s", tc.status, tc.code, got.Code, azure.Retryable(got), resource.ScopeOf(got))
		}
		for _, part := range []string{"corr-1", "req-1", tc.code, tc.text} {
			if !strings.Contains(got.Error(), part) {
				t.Errorf("%q is not in %q", part, got.Error())
			}
		}
	}
}

// TestComputeThrottle: Compute sends its 429 without the error wrapper.
func TestComputeThrottle(t *testing.T) {
	t.Parallel()
	got := azure.Explain(refusal(429, `{"code":"OperationNotAllowed","message":"too many requests","details":[{"code":"TooManyRequests","target":"PutVM","message":"{}"}]}`, "Retry-After", "42"))
	if got.Code != lazuli.CodeAzureThrottled || azure.RetryAfter(got) != 42*time.Second {
		t.Errorf("%s after %s", got.Code, azure.RetryAfter(got))
	}
}

func TestExplainNoAnswer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want lazuli.Code
		is   error
	}{
		{fmt.Errorf("x: %w", context.DeadlineExceeded), lazuli.CodeAzureUnreachable, context.DeadlineExceeded},
		{fmt.Errorf("x: %w", context.Canceled), lazuli.CodeUnavailable, context.Canceled},
		{io.ErrUnexpectedEOF, lazuli.CodeAzureUnreachable, nil},
		{lazuli.Errorf(lazuli.CodeInternal, "known"), lazuli.CodeInternal, nil},
	} {
		got := azure.Explain(tc.err)
		if got.Code != tc.want || tc.is != nil && !errors.Is(got, tc.is) {
			t.Errorf("Explain(%v) is %s (%v)", tc.err, got.Code, got)
		}
	}
	if azure.Explain(nil) != nil {
		t.Error("Explain(nil) is not nil")
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		headers []string
		want    time.Duration
	}{
		{[]string{"Retry-After", "17"}, 17 * time.Second},
		{[]string{"retry-after-ms", "20", "Retry-After", "1"}, 20 * time.Millisecond},
		{[]string{"x-ms-retry-after-ms", "30", "Retry-After", "1"}, 30 * time.Millisecond},
		{[]string{"Retry-After", "-5"}, 0},
		{[]string{"Retry-After", "soon"}, 0},
		{[]string{"Retry-After", "Mon, 01 Jan 2001 00:00:00 GMT"}, 0},
		{[]string{"Retry-After", "999999"}, time.Hour},
	} {
		if got := azure.RetryAfter(azure.Explain(refusal(409, `{"error":{"code":"X"}}`, tc.headers...))); got != tc.want {
			t.Errorf("%v is %s, want %s", tc.headers, got, tc.want)
		}
	}
	if got := azure.RetryAfter(azure.Explain(refusal(400, `{"error":{"code":"NicReservedForAnotherVm"}}`))); got != 180*time.Second {
		t.Errorf("a reserved interface is free after %s", got)
	}
}

// TestLongRuns: what is data and not words stays out of messages.
func TestLongRuns(t *testing.T) {
	t.Parallel()
	blob := strings.Repeat("QUJD", 60)
	got := azure.Explain(refusal(400, fmt.Sprintf(`{"error":{"code":"InvalidParameter","message":"bad value %s at %s"}}`, blob, idOf(resource.TypeVirtualMachine, "demo"))))
	if strings.Contains(got.Error(), blob) || !strings.Contains(got.Error(), "demo") {
		t.Errorf("the message is %q", got.Error())
	}
	long := azure.Explain(refusal(400, fmt.Sprintf(`{"error":{"code":"X","message":%q}}`, strings.Repeat("word ", 1000))))
	if len(long.Error()) > 1000 {
		t.Errorf("the message has %d bytes", len(long.Error()))
	}
}
