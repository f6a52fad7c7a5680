// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// The codes that only HTTP knows.
const (
	CodeRouteNotFound    = lazuli.CodeRouteNotFound
	CodeMethodNotAllowed = lazuli.Code("MethodNotAllowed")     // the path is served, the method is not
	CodeMacroTaken       = lazuli.Code("MacroNameTaken")       // clients tell 422 from other refusals here
	CodeMediaType        = lazuli.Code("UnsupportedMediaType") // the body is not JSON by its header
)

// maxFields bounds the findings of one answer.
const maxFields = 100

// retryAfter is what an answer that invites a retry advises, in seconds.
const retryAfter = 5

// ErrorRow is one error code of the API.
type ErrorRow struct {
	Code    lazuli.Code
	Status  int
	Retry   bool // the same request may succeed later without a change
	Meaning string
	Remedy  string // what helps, unless the error itself says more
}

// Errors is the table of all codes. Palette's clients retry 429 and everything
// above 500, with waits that grow for half an hour, and never other codes: so a
// thing that only a human can mend is never above 500.
func Errors() []ErrorRow { return append(hubErrors(), azureErrors()...) }

// hubErrors are the codes of what the hub itself finds.
func hubErrors() []ErrorRow {
	return []ErrorRow{
		{lazuli.CodeInvalidField, http.StatusBadRequest, false,
			"The value of a field is not acceptable; details.fields names each field and what would be right.",
			"Correct the named fields and send the request again. Nothing was changed."},
		{lazuli.CodeVariablesUndefined, http.StatusBadRequest, false,
			"The values or a manifest of a pack refer to a variable that the profile does not declare; the message names both.",
			"Declare the variable in spec.variables of the profile, or correct the name in {{.spectro.var.NAME}}."},
		{lazuli.CodeMalformedBody, http.StatusBadRequest, false,
			"The body is not JSON as it is accepted: broken syntax, invalid UTF-8, NUL, half of a surrogate pair, a key twice in one object, or nesting deeper than 64.",
			"Send one JSON document in UTF-8."},
		{lazuli.CodeUnauthenticated, http.StatusUnauthorized, false,
			"There is no credential, or the hub does not know it, or it is over: a key that expired or was revoked, a session that ended. At a sign-in: the name or the password is wrong.",
			"Send a key of this hub in the header ApiKey, or the token of a session in Authorization."},
		{lazuli.CodeForbidden, http.StatusForbidden, false,
			"The caller lacks the permission that the operation needs where the object is, or would give a right that it has not itself.",
			"Ask an administrator for a role that has the permission, or use a key that is not bound to another project."},
		{lazuli.CodeNotFound, http.StatusNotFound, false,
			"There is no such object, or the caller may not see it.",
			"Check the uid. Lists show what the caller may see."},
		{lazuli.CodeRouteNotFound, http.StatusNotFound, false,
			"The hub serves nothing at this path.",
			"See the reference of the API for the paths that this release serves."},
		{CodeMethodNotAllowed, http.StatusMethodNotAllowed, false,
			"The hub serves this path, but not with this method.",
			"See the reference of the API."},
		{lazuli.CodeNotServed, http.StatusBadRequest, false,
			"The operation belongs to Palette's API and is not served by this release.",
			"Do without it, or use a release that serves it."},
		{lazuli.CodeDuplicateName, http.StatusConflict, false,
			"Another object of this kind has the name in the same project.",
			"Choose another name, or delete the other object first."},
		{CodeMacroTaken, http.StatusUnprocessableEntity, false,
			"A macro of the name is there already in the same scope.",
			"Choose another name, or change the macro with PUT or PATCH."},
		{lazuli.CodeConflict, http.StatusConflict, true,
			"The object changed while the request was handled, or its state forbids the act.",
			"Read the object again and repeat the request."},
		{lazuli.CodeInUse, http.StatusConflict, false,
			"Something still refers to the object.",
			"Delete what refers to it first; a cluster lets go when it is Deleted."},
		{lazuli.CodeFenced, http.StatusConflict, true,
			"The writer lost its lease of the object.",
			"Repeat the request."},
		{lazuli.CodeBodyTooLarge, http.StatusRequestEntityTooLarge, false,
			"The body is larger than the operation accepts.",
			"Send less than 1 MiB."},
		{CodeMediaType, http.StatusUnsupportedMediaType, false,
			"The header Content-Type or Content-Encoding names something other than plain JSON.",
			"Send Content-Type: application/json and no Content-Encoding."},
		{lazuli.CodeTooManyRequests, http.StatusTooManyRequests, true,
			"The credential sends more requests than the hub takes, too many are under way, or too many attempts to authenticate failed.",
			"Wait for the seconds of the header Retry-After."},
		{lazuli.CodeInternal, http.StatusInternalServerError, false,
			"A defect of the hub. The answer's ref is the id of the request in the hub's log.",
			"Report it with the lines of the log that carry the ref."},
		{lazuli.CodeUnavailable, http.StatusServiceUnavailable, true,
			"The hub cannot reach its store, or is about to stop.",
			"Repeat the request a little later."},
	}
}

// azureErrors are the codes of what Azure answers.
func azureErrors() []ErrorRow {
	return []ErrorRow{
		{lazuli.CodeAzureTenant, http.StatusBadRequest, false,
			"Entra ID does not know the tenant of the account.",
			"Check tenantId: it is the Directory (tenant) ID on the overview page of the app registration."},
		{lazuli.CodeAzureClient, http.StatusBadRequest, false,
			"The tenant does not know the application of the account.",
			"Check clientId: it is the Application (client) ID of the app registration, in the tenant of tenantId."},
		{lazuli.CodeAzureSecret, http.StatusBadRequest, false,
			"The client secret of the account is wrong.",
			"Check clientSecret: it is the Value of a client secret, not its Secret ID."},
		{lazuli.CodeAzureSecretExpired, http.StatusBadRequest, false,
			"The client secret of the account has expired.",
			"Make a new client secret in the app registration and put it into the account."},
		{lazuli.CodeAzurePermission, http.StatusBadRequest, false,
			"The principal of the account may not do in Azure what is needed.",
			"Give it the role Contributor, or the published least-privilege role, on the resource group."},
		{lazuli.CodeAzureUnreachable, http.StatusFailedDependency, true,
			"Entra ID or Azure Resource Manager did not answer in time.",
			"Check the hub's way to Azure and repeat the request."},
		{lazuli.CodeAzureThrottled, http.StatusTooManyRequests, true,
			"Azure takes no more requests of the principal for now.",
			"Repeat the request later."},
		{lazuli.CodeAzureQuota, http.StatusConflict, false,
			"A quota of the subscription is used up.",
			"Ask Azure for a higher quota, or use another size or region."},
		{lazuli.CodeAzureCapacity, http.StatusConflict, true,
			"Azure has no room for the size in the region or zone.",
			"Use another size, zone or region, or try later."},
		{lazuli.CodeAzureConflict, http.StatusConflict, true,
			"Another operation in Azure, or a reference, is in the way for now.",
			"Repeat the request later."},
		{lazuli.CodeAzureLocked, http.StatusConflict, false,
			"A resource lock or a policy of the subscription forbids the act.",
			"Remove the lock, or ask whoever owns the policy."},
		{lazuli.CodeAzureNotFound, http.StatusBadRequest, false,
			"A thing in Azure that should be there is not.",
			"Check the names of the subscription and the resource group."},
		{lazuli.CodeAzureRejected, http.StatusBadRequest, false,
			"Azure refuses the request as it is.",
			"See the message for Azure's own words."},
	}
}

func errorRow(code lazuli.Code) ErrorRow {
	var internal ErrorRow
	for _, r := range Errors() {
		if r.Code == code {
			return r
		}
		if r.Code == lazuli.CodeInternal {
			internal = r
		}
	}
	return internal
}

// ErrorsMarkdown renders the table as docs/errors.md.
func ErrorsMarkdown() string {
	var b strings.Builder
	b.WriteString(`# Error codes

Every answer of status 400 and above is JSON:

` + "```json" + `
{"code": "InvalidField", "message": "...", "details": {"fields": [{"field": "spec.cloudConfig.location", "message": "..."}], "remedy": "..."}, "ref": "id of the request"}
` + "```" + `

` + "`code`" + ` is stable, ` + "`message`" + ` and ` + "`details.remedy`" + ` are for people. An answer with "retry" may succeed later without a change
and carries the header ` + "`Retry-After`" + `. This page is generated from the table in ` + "`internal/api/errors.go`" + `.

| Code | Status | Retry | Meaning | What helps |
|---|---|---|---|---|
`)
	for _, r := range Errors() {
		retry := ""
		if r.Retry {
			retry = "retry"
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s |\n", r.Code, r.Status, retry, r.Meaning, r.Remedy)
	}
	return b.String()
}

// asError finds the error to tell the caller.
func asError(err error) *lazuli.Error {
	if e, ok := errors.AsType[*lazuli.Error](err); ok && e.Code != lazuli.CodeInternal {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return lazuli.Errorf(lazuli.CodeUnavailable, "the request ended before it was answered")
	}
	return lazuli.Errorf(lazuli.CodeInternal, "a defect of the hub; its log tells more under the id in ref")
}

// errorBody renders an error as the wire wants it.
func errorBody(e *lazuli.Error, ref string) palette.Error {
	fields := e.Fields
	if len(fields) > maxFields {
		fields = fields[:maxFields]
	}
	return palette.Error{
		Code:    string(e.Code),
		Message: e.Message,
		Details: &palette.ErrorDetails{Fields: fields, Remedy: orElse(e.Remedy, errorRow(e.Code).Remedy)},
		Ref:     ref,
	}
}

func setRetryAfter(h http.Header, row ErrorRow) {
	if row.Retry {
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
}
