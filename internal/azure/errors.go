// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
)

const (
	maxText       = 600 // characters of Azure's words that are kept
	longToken     = 100 // a run of letters and digits this long is data, not words
	redacted      = "[redacted]"
	aadPrefix     = "AADSTS"
	nicReservedIn = 180 * time.Second
	// maxRetryAfter bounds what a header may ask for; Azure's longest seen is 20 minutes.
	maxRetryAfter = time.Hour
)

// Explain maps an error of the SDK, of Entra ID or of the network to an Error
// with code, cause, remedy and, as its cause, a *resource.Failure. An error
// that is explained already comes back as it is. It returns nil for nil.
func Explain(err error) *lazuli.Error {
	return explain("", lazuli.Secret{}, err)
}

// Retryable reports whether err, from this package, is worth repeating by itself.
func Retryable(err error) bool { return resource.Retryable(err) }

// RetryAfter returns how long to leave Azure alone after err; 0 is unsaid.
func RetryAfter(err error) time.Duration { return resource.RetryAfter(err) }

// explain is Explain with the act that failed and a secret that must not
// appear, should a server have echoed it.
func explain(act string, secret lazuli.Secret, err error) *lazuli.Error {
	if err == nil {
		return nil
	}
	out := explainCause(err)
	if f, ok := out.Err.(*resource.Failure); ok && !secret.Empty() { //nolint:errorlint // ours is never wrapped
		clean := *f // several callers may share one answer
		clean.Text = strings.ReplaceAll(f.Text, secret.Reveal(), redacted)
		out.Err = &clean
	}
	if act != "" {
		out.Message = act + ": " + out.Message
	}
	return out
}

func explainCause(err error) *lazuli.Error {
	if known, ok := errors.AsType[*lazuli.Error](err); ok {
		clone := *known
		return &clone
	}
	if auth, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		return explainAuth(auth)
	}
	if re, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return explainResponse(re)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return made(rowCanceled, &resource.Failure{Err: context.Canceled})
	case errors.Is(err, context.DeadlineExceeded):
		return made(rowTimeout, &resource.Failure{Err: context.DeadlineExceeded})
	}
	return made(rowNetwork, &resource.Failure{Text: shorten(err.Error())})
}

// made builds the Error of a row, filling in what the row says of the failure.
func made(r Explanation, f *resource.Failure) *lazuli.Error {
	f.Retryable = r.Retryable
	f.Scope = r.Scope
	return &lazuli.Error{Code: r.Code, Message: r.Cause, Remedy: r.Remedy, Err: f}
}

// explainResponse explains a refusal of Resource Manager.
func explainResponse(re *azcore.ResponseError) *lazuli.Error {
	f := &resource.Failure{AzureCode: re.ErrorCode, Status: re.StatusCode}
	var body armError
	if resp := re.RawResponse; resp != nil {
		f.RetryAfter = retryAfter(resp.Header, time.Now)
		f.RequestID = shortenTo(resp.Header.Get("x-ms-request-id"), maxIDText)
		f.CorrelationID = shortenTo(resp.Header.Get("x-ms-correlation-request-id"), maxIDText)
		if b, err := runtime.Payload(resp); err == nil {
			body = parseError(b)
		}
	}
	if f.AzureCode == "" {
		f.AzureCode = body.Code
	}
	body.Code = f.AzureCode
	return explainARM(body, f)
}

// explainOperation explains the error of an operation that ended badly.
func explainOperation(e armError, header http.Header) *lazuli.Error {
	return explainARM(e, &resource.Failure{
		AzureCode:     e.Code,
		RequestID:     shortenTo(header.Get("x-ms-request-id"), maxIDText),
		CorrelationID: shortenTo(header.Get("x-ms-correlation-request-id"), maxIDText),
	})
}

func explainARM(e armError, f *resource.Failure) *lazuli.Error {
	r := find(e, f.Status)
	f.AzureCode = shortenTo(f.AzureCode, maxIDText)
	f.Text = shorten(e.words())
	if f.RetryAfter == 0 {
		f.RetryAfter = r.after
	}
	return made(r, f)
}

// armError is the error object of Resource Manager, with or without its
// wrapper: https://github.com/microsoft/api-guidelines, section 7.10.2.
type armError struct {
	Code    string     `json:"code"`
	Message string     `json:"message"`
	Target  string     `json:"target"`
	Details []armError `json:"details"`
}

// words are the message and those of the details that add something.
func (e armError) words() string {
	out := strings.TrimSpace(e.Message)
	for _, d := range e.Details {
		if m := strings.TrimSpace(d.Message); m != "" && !strings.Contains(out, m) {
			out += " | " + strings.TrimSpace(d.Code+" "+m)
		}
	}
	return out
}

func parseError(b []byte) armError {
	var wrapped struct {
		Error armError `json:"error"`
	}
	if err := json.Unmarshal(b, &wrapped); err == nil && wrapped.Error.Code != "" {
		return wrapped.Error
	}
	var plain armError
	if err := json.Unmarshal(b, &plain); err != nil {
		return armError{}
	}
	return plain
}

// find returns the first row that fits; there is always one. An unknown outer
// code gives way to a known one among the details.
func find(e armError, status int) Explanation {
	rows := Explanations()
	for _, candidate := range append([]armError{e}, e.Details...) {
		for _, r := range rows {
			if r.Azure != "" && r.fits(candidate, status) {
				return r
			}
		}
	}
	for _, r := range rows {
		if r.Azure == "" && r.fits(e, status) {
			return r
		}
	}
	return rowRejected
}

func (r Explanation) fits(e armError, status int) bool {
	if r.Azure != "" {
		if ok, err := path.Match(strings.ToLower(r.Azure), strings.ToLower(e.Code)); err != nil || !ok {
			return false
		}
	}
	// An operation that fails later has no status: the code decides alone.
	if r.Status != 0 && r.Status != status && (status != 0 || r.Azure == "") {
		return false
	}
	if r.Detail != "" && !e.hasDetail(r.Detail) {
		return false
	}
	return r.Text == "" || strings.Contains(strings.ToLower(e.words()), strings.ToLower(r.Text))
}

func (e armError) hasDetail(code string) bool {
	for _, d := range e.Details {
		if strings.EqualFold(d.Code, code) {
			return true
		}
	}
	return false
}

// explainAuth explains a refusal of Entra ID. Of the answer it keeps the
// AADSTS code and the identifiers for support: the request, which hangs on the
// SDK's error, holds the secret.
func explainAuth(auth *azidentity.AuthenticationFailedError) *lazuli.Error {
	resp := auth.RawResponse
	if resp == nil {
		return made(rowNetwork, &resource.Failure{Text: "Entra ID gave no answer"})
	}
	f := &resource.Failure{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header, time.Now)}
	var body struct {
		Error         string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
	}
	if b, err := runtime.Payload(resp); err == nil {
		_ = json.Unmarshal(b, &body) // an answer that is no JSON has no code, and is told by its status
	}
	f.RequestID = shortenTo(body.TraceID, maxIDText)
	f.CorrelationID = shortenTo(body.CorrelationID, maxIDText)
	code := aadCode(body.Description)
	if code == "" && len(body.Codes) > 0 {
		code = aadPrefix + strconv.Itoa(body.Codes[0])
	}
	f.AzureCode = code
	for _, r := range SignInExplanations() {
		if r.Azure != "" && r.Azure != code || r.Status != 0 && r.Status != resp.StatusCode {
			continue
		}
		return made(r, f)
	}
	return made(rowSignInRefused, f)
}

// aadCode returns the first AADSTS code of a description, or "".
func aadCode(description string) string {
	_, rest, ok := strings.Cut(description, aadPrefix)
	if !ok {
		return ""
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		return ""
	}
	return aadPrefix + rest[:end]
}

// authError is what a credential that cannot be right gets without a call.
func authError(act, code string) *lazuli.Error {
	for _, r := range SignInExplanations() {
		if r.Azure == code {
			out := made(r, &resource.Failure{})
			out.Message = act + ": " + out.Message
			return out
		}
	}
	return made(rowSignInRefused, &resource.Failure{})
}

// retryAfter reads how long to wait from the headers that the Go SDK knows, in
// its order; 0 is unsaid.
func retryAfter(h http.Header, now func() time.Time) time.Duration {
	for _, in := range []struct {
		name string
		unit time.Duration
	}{
		{"retry-after-ms", time.Millisecond}, {"x-ms-retry-after-ms", time.Millisecond}, {"Retry-After", time.Second},
	} {
		v := strings.TrimSpace(h.Get(in.name))
		if v == "" {
			continue
		}
		if n, err := strconv.ParseInt(v, 10, 32); err == nil {
			if n > 0 {
				return min(time.Duration(n)*in.unit, maxRetryAfter)
			}
			continue
		}
		if at, err := http.ParseTime(v); err == nil && in.unit == time.Second {
			if d := at.Sub(now()); d > 0 {
				return min(d, maxRetryAfter)
			}
		}
	}
	return 0
}

// shorten makes Azure's words fit for a message: one line, bounded, without
// runs that are data (tokens, keys, user data) rather than words.
func shorten(s string) string { return shortenTo(s, maxText) }

func shortenTo(s string, limit int) string {
	words := strings.Fields(s)
	for i, w := range words {
		if len(w) > longToken && !strings.Contains(w, "/subscriptions/") && !strings.Contains(w, "/providers/") {
			words[i] = redacted
		}
	}
	s = strings.Join(words, " ")
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "..."
	}
	return s
}

const maxIDText = 80
