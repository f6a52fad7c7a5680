// SPDX-License-Identifier: Apache-2.0

package lazuli

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

const (
	uidTimeBytes   = 4
	uidRandomBytes = 8
	// UIDLength is the length of a uid in characters.
	UIDLength = 2 * (uidTimeBytes + uidRandomBytes)
)

// NewUID returns 24 lower-case hexadecimal digits: four bytes of now in
// seconds, eight bytes of random. Palette's clients treat uids as opaque but
// split some ids on "_" and ":", which therefore never occur.
func NewUID(now time.Time, random io.Reader) (string, error) {
	var b [uidTimeBytes + uidRandomBytes]byte
	binary.BigEndian.PutUint32(b[:uidTimeBytes], uint32(now.Unix())) // wraps in 2106, still unique
	if _, err := io.ReadFull(random, b[uidTimeBytes:]); err != nil {
		return "", fmt.Errorf("read random bytes of a uid: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// ValidUID reports whether s has the form of a uid.
func ValidUID(s string) bool {
	if len(s) != UIDLength {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
