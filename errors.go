// SPDX-License-Identifier: Apache-2.0

package lazuli

import (
	"errors"
	"fmt"
	"strings"
)

// Code says what kind of failure an Error is. Codes are part of the public
// API: clients test them, docs/errors.md lists them, and internal/api maps
// each to an HTTP status in one place.
type Code string

// The codes. A new one needs a row in the table of internal/api.
const (
	CodeInternal           Code = "InternalError"            // a defect of ours; the message says where to look
	CodeInvalidField       Code = "InvalidField"             // a field's value is not acceptable; Fields names it
	CodeMalformedBody      Code = "MalformedBody"            // not JSON, NUL, invalid UTF-8, too deep
	CodeBodyTooLarge       Code = "BodyTooLarge"             // larger than the route allows
	CodeUnauthenticated    Code = "Unauthenticated"          // no credential, or an unknown one
	CodeForbidden          Code = "Forbidden"                // the credential lacks the permission
	CodeNotFound           Code = "ResourceNotFound"         // Palette's clients take this code for "absent"
	CodeRouteNotFound      Code = "RouteNotFound"            // no such path
	CodeNotServed          Code = "OperationNotServed"       // a Palette operation that this hub does not serve
	CodeDuplicateName      Code = "DuplicateName"            // another object of this kind has the name
	CodeConflict           Code = "Conflict"                 // the object changed meanwhile, or its state forbids the act
	CodeVariablesUndefined Code = "PackVariablesUndefined"   // a pack refers to a variable that its profile does not declare
	CodeInUse              Code = "InUse"                    // something still refers to the object
	CodeFenced             Code = "LeaseLost"                // the writer no longer holds the lease of the object
	CodeUnavailable        Code = "Unavailable"              // the store or a dependency cannot answer now; retry later
	CodeTooManyRequests    Code = "TooManyRequests"          // a limit of ours was hit
	CodeAzureTenant        Code = "AzureTenantNotFound"      // Entra ID does not know the tenant
	CodeAzureClient        Code = "AzureClientNotFound"      // the tenant does not know the application
	CodeAzureSecret        Code = "AzureClientSecretInvalid" // the secret is wrong
	CodeAzureSecretExpired Code = "AzureClientSecretExpired" // the secret was right once
	CodeAzurePermission    Code = "AzurePermissionMissing"   // the principal may not do what is needed
	CodeAzureUnreachable   Code = "AzureUnreachable"         // no answer from Entra ID or Resource Manager
	CodeAzureThrottled     Code = "AzureThrottled"           // 429; the bucket is closed until a known time
	CodeAzureQuota         Code = "AzureQuotaExceeded"       // a quota of the subscription is used up
	CodeAzureCapacity      Code = "AzureCapacity"            // the region or zone has no room for the size
	CodeAzureConflict      Code = "AzureConflict"            // another operation or a reference is in the way for now
	CodeAzureLocked        Code = "AzureLocked"              // a resource lock or a policy forbids the act
	CodeAzureNotFound      Code = "AzureResourceNotFound"    // a thing that should be there is not
	CodeAzureRejected      Code = "AzureRejected"            // Azure refuses the request as it is
)

// FieldError is one finding about one field of a request or document.
type FieldError struct {
	Path    string `json:"field"`   // e.g. spec.machinepoolconfig[0].poolConfig.size
	Message string `json:"message"` // what is wrong and what would be right
}

// Error is a failure with a code that callers can act on.
type Error struct {
	Code    Code
	Message string       // names the act and the cause; safe to show to the caller
	Remedy  string       // what the user can do about it; may be empty
	Fields  []FieldError // for CodeInvalidField
	Err     error        // the cause, for logs; its text is part of Error()
}

// Errorf makes an Error whose message is formatted like fmt.Sprintf's.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error renders code, message and cause on one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, f := range e.Fields {
		if !strings.Contains(e.Message, f.Path) {
			fmt.Fprintf(&b, "; %s: %s", f.Path, f.Message)
		}
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain, CodeInternal for
// any other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// RemedyOf returns the remedy of the first Error in err's chain, or "".
func RemedyOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Remedy
	}
	return ""
}

// Fields collects findings about a request and turns them into one Error.
type Fields []FieldError

// Add records a finding about the field at path.
func (f *Fields) Add(path, format string, args ...any) {
	*f = append(*f, FieldError{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Err returns nil without findings, else an Error of CodeInvalidField whose
// message leads with the first finding.
func (f Fields) Err() error {
	if len(f) == 0 {
		return nil
	}
	msg := f[0].Path + ": " + f[0].Message
	if n := len(f) - 1; n > 0 {
		msg += fmt.Sprintf(" (and %d more)", n)
	}
	return &Error{Code: CodeInvalidField, Message: msg, Fields: f}
}
