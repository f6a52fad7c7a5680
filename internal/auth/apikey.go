// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/lazuli-dev/lazuli"
)

const (
	// KeyPrefix starts every key that we make, so that scanners find one that
	// leaked.
	KeyPrefix = "lz_"
	keyBytes  = 32
	// MinKeyLength is the shortest key that Bootstrap takes from an operator.
	MinKeyLength = 16
	maxKeyLength = 512
)

// NewKey makes a key from 256 bits of random.
func NewKey(random io.Reader) (lazuli.Secret, error) {
	b := make([]byte, keyBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return lazuli.Secret{}, fmt.Errorf("read random bytes of an API key: %w", err)
	}
	return lazuli.NewSecret(KeyPrefix + hex.EncodeToString(b)), nil
}

// HashKey is the form in which a key is stored: hexadecimal SHA-256. A key has
// 256 bits of entropy, so a slow hash would protect nothing more.
func HashKey(key lazuli.Secret) string {
	sum := sha256.Sum256([]byte(key.Reveal()))
	return hex.EncodeToString(sum[:])
}

func checkKey(key lazuli.Secret) error {
	k := key.Reveal()
	if k == "" {
		return nil
	}
	if len(k) < MinKeyLength || len(k) > maxKeyLength {
		return lazuli.Errorf(lazuli.CodeInvalidField,
			"the administrator's API key needs %d to %d characters", MinKeyLength, maxKeyLength)
	}
	for i := range len(k) {
		if k[i] <= ' ' || k[i] > '~' {
			return lazuli.Errorf(lazuli.CodeInvalidField,
				"the administrator's API key has a character that a header cannot carry")
		}
	}
	return nil
}
