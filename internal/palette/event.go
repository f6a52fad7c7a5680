// SPDX-License-Identifier: Apache-2.0

package palette

import "github.com/lazuli-dev/lazuli"

// eventSource names the component that events come from.
const eventSource = "lazuli"

// Event is what happened to an object.
type Event struct {
	InvolvedObject ObjectReference `json:"involvedObject"`
	Message        string          `json:"message"`
	Metadata       ObjectMeta      `json:"metadata"`
	Reason         string          `json:"reason"`
	RelatedObject  ObjectReference `json:"relatedObject"`
	Severity       string          `json:"severity"`
	Source         EventSource     `json:"source"`
}

// EventSource is where an event comes from.
type EventSource struct {
	Component string `json:"component"`
	Host      string `json:"host,omitempty"`
}

// EventOf renders an event about a cluster.
func EventOf(e *lazuli.Event) Event {
	ref := ObjectReference{Kind: KindCluster, Name: e.Name, UID: e.Object}
	return Event{
		InvolvedObject: ref,
		Message:        e.Message,
		Metadata:       ObjectMeta{UID: e.UID, CreationTimestamp: At(e.At), LastModifiedTimestamp: At(e.At)},
		Reason:         e.Reason,
		RelatedObject:  ref,
		Severity:       string(e.Severity),
		Source:         EventSource{Component: eventSource},
	}
}
