// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// StateUnknown is the answer of a poll whose operation Azure no longer knows
// (they expire). It says nothing about the resource: read it by its id.
const StateUnknown State = "Unknown"

// Scope says how far a failure reaches: what else would fail in the same way.
type Scope string

// The scopes of a failure, from narrow to wide.
const (
	ScopeRequest      Scope = "request"      // this request, now
	ScopeResource     Scope = "resource"     // any request about this resource
	ScopeSizeZone     Scope = "size+zone"    // the VM size in its zone, or in the region where it has none
	ScopeSubscription Scope = "subscription" // the subscription in this region
	ScopePrincipal    Scope = "principal"    // whatever this principal asks for
)

// Failure is what Azure said when it refused, or why it could not be asked,
// and what follows from it. It is the cause (Err) of each *lazuli.Error that
// package azure returns. It holds no credential and no URL.
type Failure struct { //nolint:errname // the thing is a failure of Azure; that it is an error lets it be a cause
	AzureCode     string        `json:"azureCode,omitempty"` // e.g. ZonalAllocationFailed, AADSTS7000215
	Status        int           `json:"status,omitempty"`    // of HTTP; 0 where an operation failed later, or nobody answered
	Text          string        `json:"text,omitempty"`      // Azure's own words, shortened
	RequestID     string        `json:"requestId,omitempty"`
	CorrelationID string        `json:"correlationId,omitempty"` // what Azure's support asks for
	Retryable     bool          `json:"retryable"`               // worth repeating by itself; otherwise somebody has to act first
	RetryAfter    time.Duration `json:"retryAfter,omitempty"`    // not before; 0 is unsaid
	Scope         Scope         `json:"scope"`
	Err           error         `json:"-"` // context.Canceled or context.DeadlineExceeded, if that was it
}

// Error renders Azure's words and the identifiers that support asks for.
func (f *Failure) Error() string {
	var b strings.Builder
	b.WriteString("Azure")
	if f.AzureCode != "" {
		b.WriteString(" " + f.AzureCode)
	}
	if f.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", f.Status)
	}
	if f.Text != "" {
		b.WriteString(": " + f.Text)
	}
	if f.RequestID != "" {
		b.WriteString(" [request " + f.RequestID + "]")
	}
	if f.CorrelationID != "" {
		b.WriteString(" [correlation " + f.CorrelationID + "]")
	}
	return b.String()
}

// Unwrap returns the context's error, if that ended the call.
func (f *Failure) Unwrap() error { return f.Err }

// Retryable reports whether the failure in err's chain is worth repeating by
// itself. An error that holds no Failure is not.
func Retryable(err error) bool {
	f, ok := errors.AsType[*Failure](err)
	return ok && f.Retryable
}

// RetryAfter returns how long Azure, or the closed bucket, wants to be left
// alone; 0 is unsaid.
func RetryAfter(err error) time.Duration {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.RetryAfter
	}
	return 0
}

// ScopeOf returns how far the failure in err's chain reaches, ScopeRequest
// for an error that holds no Failure.
func ScopeOf(err error) Scope {
	if f, ok := errors.AsType[*Failure](err); ok && f.Scope != "" {
		return f.Scope
	}
	return ScopeRequest
}
