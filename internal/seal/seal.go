// SPDX-License-Identifier: Apache-2.0

// Package seal encrypts what must not be stored in clear: client secrets,
// cluster keys, tokens. Each value gets a data key of its own (AES-256-GCM),
// and that key is wrapped by a key encryption key, so that the latter can move
// to a vault without a value being read. Every value is bound to a text that
// names its holder, such as "account/<uid>": moved to another holder it cannot
// be opened.
//
// It refuses to log or to put into an error anything of a value, to overwrite
// a key file, and to use one that everyone may read.
package seal

import (
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/lazuli-dev/lazuli"
)

// format is the first byte of what Seal returns, so that another form can be
// told from this one.
const format byte = 1

// Sealer seals and unseals. Its methods may be called concurrently.
type Sealer struct {
	envelope tink.AEAD
}

// New makes a Sealer whose data keys are wrapped by kek: that of a key file
// (Open), or one that asks a vault.
func New(kek tink.AEAD) *Sealer {
	return &Sealer{envelope: aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), kek)}
}

// Seal encrypts plain for the holder that aad names; aad must not be empty.
// The result differs each time.
func (s *Sealer) Seal(plain []byte, aad string) (lazuli.Sealed, error) {
	if aad == "" {
		return nil, errNoHolder("seal")
	}
	sealed, err := s.envelope.Encrypt(plain, []byte(aad))
	if err != nil {
		return nil, &lazuli.Error{Code: lazuli.CodeInternal, Message: fmt.Sprintf("seal the secret of %s", aad), Err: err}
	}
	return append(lazuli.Sealed{format}, sealed...), nil
}

// Unseal decrypts what Seal made for the same aad. Any other aad, key or a
// changed value is lazuli.CodeInternal; which of these it was cannot be told.
func (s *Sealer) Unseal(sealed lazuli.Sealed, aad string) ([]byte, error) {
	switch {
	case aad == "":
		return nil, errNoHolder("unseal")
	case len(sealed) == 0:
		return nil, lazuli.Errorf(lazuli.CodeInternal, "unseal the secret of %s: there is none", aad)
	case sealed[0] != format:
		return nil, lazuli.Errorf(lazuli.CodeInternal, "unseal the secret of %s: its form %d is unknown to this release", aad, sealed[0])
	}
	plain, err := s.envelope.Decrypt(sealed[1:], []byte(aad))
	if err != nil {
		return nil, &lazuli.Error{
			Code:    lazuli.CodeInternal,
			Message: fmt.Sprintf("unseal the secret of %s: it was sealed with another key or for another holder, or was changed", aad),
			Remedy:  "Start the hub with the key file that belongs to this database, or enter the secret again.",
			Err:     errors.New("authentication of the ciphertext did not pass"),
		}
	}
	return plain, nil
}

func errNoHolder(act string) error {
	return lazuli.Errorf(lazuli.CodeInternal, "%s a secret: its holder is not named", act)
}
