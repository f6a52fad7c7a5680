// SPDX-License-Identifier: Apache-2.0

// Package palette is the wire of Palette's v1 API as far as this hub serves
// it: the types of requests and answers with their field names, and the views
// between them and the domain.
//
// Rules of the wire that shape it:
//
//   - What the user sent comes back as sent. Absent, null and empty stay
//     different, so those parts are json.RawMessage in answers; a default
//     written into an answer is a change that Terraform would undo.
//   - Lists and objects of requests may be null; unknown fields are ignored.
//   - Times are RFC 3339 with milliseconds; the zero time is noise that
//     clients send and means "none".
//
// A type is named like its model without the prefix V1. The package does no
// I/O, validates nothing beyond the shape, keeps no state, and knows neither
// HTTP nor Azure. "Palette" is the name of a protocol, nothing more.
package palette
