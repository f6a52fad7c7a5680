// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/lazuli-dev/lazuli"
)

// Bounds of passwords. What is short is guessed, whatever hashes it.
const (
	MinPasswordLength = 12  // characters
	maxPasswordBytes  = 256 // what is longer is not hashed at all
)

// PasswordParams are the costs of Argon2id (RFC 9106). They are stored with each
// hash; a hash of smaller costs is made anew when its owner signs in.
type PasswordParams struct {
	Memory      uint32 // KiB
	Iterations  uint32
	Parallelism uint8
}

// DefaultPasswordParams are 19 MiB and two passes, the least of what OWASP's
// "Password Storage" cheat sheet advises for Argon2id: about 25 ms of one core.
func DefaultPasswordParams() PasswordParams {
	return PasswordParams{Memory: 19 << 10, Iterations: 2, Parallelism: 1}
}

const (
	saltBytes   = 16
	hashBytes   = 32
	phcFields   = 6       // of $argon2id$v=19$m=..,t=..,p=..$salt$hash
	maxMemory   = 1 << 20 // KiB; a stored hash that asks for more is not computed
	maxPasses   = 64
	maxWaiting  = 64 // callers that wait for a hash to be computed
	maxParallel = 4
)

// Passwords hashes and checks passwords, few at a time: each takes memory and a
// core, and callers without a credential can ask for it.
type Passwords struct {
	params  PasswordParams
	random  io.Reader
	slots   chan struct{}
	waiting chan struct{}
	decoy   string // a hash that no password has, for users that there are not
}

// NewPasswords makes a hasher; zero params are DefaultPasswordParams.
func NewPasswords(params PasswordParams, random io.Reader) (*Passwords, error) {
	if params == (PasswordParams{}) {
		params = DefaultPasswordParams()
	}
	parallel := max(1, min(maxParallel, runtime.GOMAXPROCS(0)/2))
	p := &Passwords{
		params: params, random: random,
		slots: make(chan struct{}, parallel), waiting: make(chan struct{}, maxWaiting),
	}
	b := make([]byte, saltBytes+hashBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	p.decoy = phc(params, b[:saltBytes], b[saltBytes:])
	return p, nil
}

// enter waits for a slot. Too many callers that wait are
// lazuli.CodeTooManyRequests.
func (p *Passwords) enter(ctx context.Context) (leave func(), err error) {
	select {
	case p.waiting <- struct{}{}:
		defer func() { <-p.waiting }()
	default:
		return nil, lazuli.Errorf(lazuli.CodeTooManyRequests, "too many sign-ins are under way")
	}
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a sign-in: %w", ctx.Err())
	}
}

// Hash makes the form in which a password is stored:
// $argon2id$v=19$m=KiB,t=passes,p=lanes$salt$hash.
func (p *Passwords) Hash(ctx context.Context, password lazuli.Secret) (string, error) {
	leave, err := p.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(p.random, salt); err != nil {
		return "", fmt.Errorf("read random bytes of a salt: %w", err)
	}
	return phc(p.params, salt, derive(p.params, password, salt, hashBytes)), nil
}

// Check reports whether a password has a hash, and whether the hash should be
// made anew because its costs are smaller than today's. An empty hash, or one
// that is not understood, is no password's, and takes as long to find out.
func (p *Passwords) Check(ctx context.Context, password lazuli.Secret, hash string) (ok, outdated bool, err error) {
	params, salt, want, valid := parsePHC(hash)
	if !valid || len(password.Reveal()) > maxPasswordBytes {
		params, salt, want, _ = parsePHC(p.decoy)
		valid = false
	}
	if len(password.Reveal()) > maxPasswordBytes {
		password = lazuli.Secret{}
	}
	leave, err := p.enter(ctx)
	if err != nil {
		return false, false, err
	}
	defer leave()
	got := derive(params, password, salt, len(want))
	ok = subtle.ConstantTimeCompare(got, want) == 1 && valid
	smaller := params.Memory < p.params.Memory || params.Iterations < p.params.Iterations || len(want) < hashBytes
	return ok, ok && smaller, nil
}

func derive(c PasswordParams, password lazuli.Secret, salt []byte, n int) []byte {
	return argon2.IDKey([]byte(password.Reveal()), salt, c.Iterations, c.Memory, c.Parallelism, uint32(n))
}

func phc(c PasswordParams, salt, hash []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Iterations, c.Parallelism,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(hash))
}

func parsePHC(s string) (c PasswordParams, salt, hash []byte, ok bool) {
	f := strings.Split(s, "$")
	if len(f) != phcFields || f[0] != "" || f[1] != "argon2id" || f[2] != "v="+strconv.Itoa(argon2.Version) {
		return c, nil, nil, false
	}
	costs := strings.Split(f[3], ",")
	if len(costs) != 3 {
		return c, nil, nil, false
	}
	var n [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		text, found := strings.CutPrefix(costs[i], name)
		v, err := strconv.ParseUint(text, 10, 32)
		if !found || err != nil || v == 0 {
			return c, nil, nil, false
		}
		n[i] = v
	}
	if n[0] > maxMemory || n[1] > maxPasses || n[2] > math.MaxUint8 {
		return c, nil, nil, false
	}
	c = PasswordParams{Memory: uint32(n[0]), Iterations: uint32(n[1]), Parallelism: uint8(n[2])}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(f[4])
	if err != nil || len(salt) < saltBytes/2 {
		return c, nil, nil, false
	}
	hash, err = base64.RawStdEncoding.Strict().DecodeString(f[5])
	if err != nil || len(hash) < saltBytes || len(hash) > 2*hashBytes {
		return c, nil, nil, false
	}
	return c, salt, hash, true
}

// CheckNewPassword says what is wrong with a password that somebody chose for a
// user, or "". The text does not repeat it.
func CheckNewPassword(password lazuli.Secret, u *lazuli.User) string {
	s := password.Reveal()
	switch {
	case !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0:
		return "has a control character"
	case utf8.RuneCountInString(s) < MinPasswordLength:
		return fmt.Sprintf("has fewer than %d characters", MinPasswordLength)
	case len(s) > maxPasswordBytes:
		return fmt.Sprintf("has more than %d bytes", maxPasswordBytes)
	}
	lower := strings.ToLower(s)
	for _, own := range []string{u.Email, u.Name} {
		if own != "" && lower == strings.ToLower(own) {
			return "is the user's own name"
		}
	}
	if strings.Count(s, s[:1]) == len(s) {
		return "is one character again and again"
	}
	return ""
}

// Alphabet of passwords that the hub makes: no two letters that look alike.
const (
	passwordAlphabet = "abcdefghijkmnpqrstuvwxyz23456789"
	passwordGroups   = 5
	passwordGroup    = 5
)

// NewPassword makes a password of 125 bits of random, in five groups that can
// be typed from paper.
func NewPassword(random io.Reader) (lazuli.Secret, error) {
	b := make([]byte, passwordGroups*passwordGroup)
	if _, err := io.ReadFull(random, b); err != nil {
		return lazuli.Secret{}, fmt.Errorf("read random bytes of a password: %w", err)
	}
	var s strings.Builder
	for i, c := range b {
		if i > 0 && i%passwordGroup == 0 {
			s.WriteByte('-')
		}
		s.WriteByte(passwordAlphabet[int(c)%len(passwordAlphabet)]) // 32 letters: no bias
	}
	return lazuli.NewSecret(s.String()), nil
}
