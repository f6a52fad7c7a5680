// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
)

const (
	tokenIDLength     = 6
	tokenSecretLength = 16
	tokenAlphabet     = "0123456789abcdefghijklmnopqrstuvwxyz"
	redacted          = "[redacted]"
)

var tokenPattern = regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)

// Token is a bootstrap token, "id.secret" with six and sixteen characters of
// [a-z0-9] (Kubernetes, "Authenticating with Bootstrap Tokens"). It prints
// as its id alone; string(t) is the token in clear, which JSON also carries.
type Token string

// NewToken draws a token: 36^16 secrets, about 82 bits. It reads from random
// until it has enough bytes without bias.
func NewToken(random io.Reader) (Token, error) {
	var b strings.Builder
	buf := make([]byte, 1)
	// The largest multiple of the alphabet's size in a byte: above it some
	// characters would be likelier than others.
	limit := byte(256 / len(tokenAlphabet) * len(tokenAlphabet))
	for b.Len() < tokenIDLength+1+tokenSecretLength {
		if b.Len() == tokenIDLength {
			b.WriteByte('.')
			continue
		}
		if _, err := io.ReadFull(random, buf); err != nil {
			return "", fmt.Errorf("draw bootstrap token: %w", err)
		}
		if buf[0] < limit {
			b.WriteByte(tokenAlphabet[int(buf[0])%len(tokenAlphabet)])
		}
	}
	return Token(b.String()), nil
}

// Validate reports whether t has the form of a token. The error does not
// contain it.
func (t Token) Validate() error {
	if !tokenPattern.MatchString(string(t)) {
		return errors.New("not of the form [a-z0-9]{6}.[a-z0-9]{16}")
	}
	return nil
}

// ID returns the public half, which names the token's Secret, or "" when t is
// not a token.
func (t Token) ID() string {
	if t.Validate() != nil {
		return ""
	}
	return string(t[:tokenIDLength])
}

// Secret returns the private half, or "" when t is not a token.
func (t Token) Secret() string {
	if t.Validate() != nil {
		return ""
	}
	return string(t[tokenIDLength+1:])
}

// String implements fmt.Stringer.
func (t Token) String() string { return t.ID() + "." + redacted }

// Format implements fmt.Formatter, so that no verb prints the secret.
func (t Token) Format(s fmt.State, _ rune) { writeRedacted(s, t.String()) }

// LogValue implements slog.LogValuer.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// writeRedacted ends a Format method. A formatting state takes every write.
func writeRedacted(w io.Writer, s string) {
	_, _ = io.WriteString(w, s)
}
