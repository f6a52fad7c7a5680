// SPDX-License-Identifier: Apache-2.0

package lazuli

import "log/slog"

const redacted = "[redacted]"

// Secret is a credential in clear. Every way of printing it yields
// "[redacted]"; Reveal is the only way to the value, so that each use can be
// found by name. It is never stored: the store holds Sealed.
type Secret struct{ value string }

// NewSecret wraps a credential.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the credential.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether there is no credential.
func (s Secret) Empty() bool { return s.value == "" }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler; JSON and YAML use it.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Sealed is an encrypted value bound to the object that holds it. It may be
// stored and printed.
type Sealed []byte
