// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"fmt"
	"net/http"
	"time"
)

// apiError is an error as ARM answers it: {"error":{"code","message","target","details"}}.
type apiError struct {
	status  int
	code    string
	message string
	target  string
	details []*apiError
	retry   time.Duration
	// bare leaves the "error" wrapper out, as Compute does in its 429 (learn.microsoft.com, troubleshooting throttling errors).
	bare bool
	// challenge is the WWW-Authenticate header of a 401.
	challenge string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func (e *apiError) inner() object {
	o := object{"code": e.code, "message": e.message}
	if e.target != "" {
		o["target"] = e.target
	}
	if len(e.details) > 0 {
		list := make([]any, 0, len(e.details))
		for _, d := range e.details {
			list = append(list, d.inner())
		}
		o["details"] = list
	}
	return o
}

func (e *apiError) body() object {
	if e.bare {
		return e.inner()
	}
	return object{"error": e.inner()}
}

func fail(status int, code, format string, args ...any) *apiError {
	return &apiError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

func badRequest(code, format string, args ...any) *apiError {
	return fail(http.StatusBadRequest, code, format, args...)
}

func conflict(code, format string, args ...any) *apiError {
	return fail(http.StatusConflict, code, format, args...)
}

func invalidParameter(target, format string, args ...any) *apiError {
	e := badRequest("InvalidParameter", format, args...)
	e.target = target
	return e
}

func groupNotFound(name string) *apiError {
	return fail(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", name)
}

func groupDeleting(name string) *apiError {
	return conflict("ResourceGroupBeingDeleted", "The resource group '%s' is in deprovisioning state and cannot perform this operation.", name)
}

func resourceNotFound(t target) *apiError {
	return fail(http.StatusNotFound, "ResourceNotFound",
		"The Resource '%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
		t.typeName()+"/"+t.name(), t.group)
}
