// SPDX-License-Identifier: Apache-2.0

package lazuli

import "time"

// Severity of an event.
type Severity string

// The severities that Palette's clients know.
const (
	SeverityInfo    Severity = "Info"
	SeverityWarning Severity = "Warning"
	SeverityError   Severity = "Error"
)

// Event tells a user what happened to an object. Events are append-only; the
// newest thousand of an object are kept.
type Event struct {
	UID      string    `json:"uid"`
	At       time.Time `json:"at"` // set by the store when zero
	Project  string    `json:"project,omitempty"`
	Kind     Kind      `json:"kind"`
	Object   string    `json:"object"` // uid
	Name     string    `json:"name"`   // of the object, for people
	Severity Severity  `json:"severity"`
	Reason   string    `json:"reason"` // CamelCase, stable
	Message  string    `json:"message"`
}

// Audit is the record of one attempted mutation. Audits are append-only.
type Audit struct {
	UID       string    `json:"uid"`
	At        time.Time `json:"at"` // set by the store when zero
	Actor     string    `json:"actor"`
	RequestID string    `json:"requestId"`
	Operation string    `json:"operation"` // the route's operation id
	Project   string    `json:"project,omitempty"`
	Kind      Kind      `json:"kind,omitempty"`
	Object    string    `json:"object,omitempty"`
	Outcome   string    `json:"outcome"` // ok, or the error's code
}
