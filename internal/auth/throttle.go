// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/sha256"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lazuli-dev/lazuli"
)

// Bounds of guessing.
const (
	failuresRate  = 5   // failed authentications a second that one address may cause
	failuresBurst = 100 // and at once
	loginCost     = 5   // a failed sign-in counts as that many: it costs a slow hash
	freeAttempts  = 5   // sign-ins that may fail before each further one waits
	firstWait     = time.Second
	longestWait   = 15 * time.Minute
	forgetAfter   = time.Hour // without a failure
	knownFor      = time.Hour // a credential that worked is not held up by others' failures
	maxRemembered = 10_000
	ipv6Bits      = 64 // of a subscriber's network
)

// AddressKey is what failures of a remote address (host:port) are counted by:
// the IPv4 address, or the /64 network of an IPv6 address.
func AddressKey(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	addr := ap.Addr()
	if err != nil {
		if addr, err = netip.ParseAddr(remote); err != nil {
			return remote
		}
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(ipv6Bits); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

// throttle bounds how fast credentials can be guessed. It counts failures only,
// by the caller's address, and by address and name for passwords: a name alone
// is never locked, or anybody could lock out its owner.
type throttle struct {
	now func() time.Time

	mu        sync.Mutex
	addresses map[string]*rate.Limiter
	attempts  map[string]*attempts
	known     map[[sha256.Size]byte]time.Time
}

// attempts are the failed sign-ins with one name from one address.
type attempts struct {
	failed int
	last   time.Time
	until  time.Time // none before
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{
		now: now, addresses: map[string]*rate.Limiter{}, attempts: map[string]*attempts{},
		known: map[[sha256.Size]byte]time.Time{},
	}
}

func tooMany(what string, wait time.Duration) error {
	return &lazuli.Error{
		Code:    lazuli.CodeTooManyRequests,
		Message: "authenticate: too many failed attempts " + what,
		Remedy:  "wait " + max(wait, time.Second).Round(time.Second).String() + " and try with the right credential",
	}
}

// admit refuses an address that has failed too often, unless the credential has
// worked lately.
func (t *throttle) admit(address string, credential lazuli.Secret) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if until, ok := t.known[sha256.Sum256([]byte(credential.Reveal()))]; ok && now.Before(until) {
		return nil
	}
	if b := t.addresses[address]; b != nil && b.TokensAt(now) < 1 {
		return tooMany("from this address", time.Second)
	}
	return nil
}

// failed counts a failure of an address.
func (t *throttle) failed(address string, cost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	b := t.addresses[address]
	if b == nil {
		if len(t.addresses) >= maxRemembered {
			t.forgetAddresses(now)
		}
		b = rate.NewLimiter(failuresRate, failuresBurst)
		t.addresses[address] = b
	}
	b.AllowN(now, min(cost, max(1, int(b.TokensAt(now)))))
}

// forgetAddresses drops those that have recovered, and all when that is none.
func (t *throttle) forgetAddresses(now time.Time) {
	for k, b := range t.addresses {
		if b.TokensAt(now) >= failuresBurst {
			delete(t.addresses, k)
		}
	}
	if len(t.addresses) >= maxRemembered {
		clear(t.addresses)
	}
}

// worked remembers a credential.
func (t *throttle) worked(credential lazuli.Secret) {
	key := sha256.Sum256([]byte(credential.Reveal()))
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if until, ok := t.known[key]; ok && until.Sub(now) > knownFor/2 {
		return
	}
	if len(t.known) >= maxRemembered {
		clear(t.known)
	}
	t.known[key] = now.Add(knownFor)
}

// attempt begins a sign-in: it counts as failed until succeed says otherwise,
// so that many at once are no way around the count.
func (t *throttle) attempt(address, name string) (succeed func(), err error) {
	key := address + " " + lazuli.Fold(strings.TrimSpace(name))
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	a := t.attempts[key]
	if a != nil && now.Sub(a.last) > forgetAfter {
		a = nil
	}
	if a == nil {
		if len(t.attempts) >= maxRemembered {
			t.forgetAttempts(now)
		}
		a = &attempts{}
		t.attempts[key] = a
	}
	if now.Before(a.until) {
		return nil, tooMany("with this name", a.until.Sub(now))
	}
	a.failed++
	a.last = now
	if over := a.failed - freeAttempts; over >= 0 {
		wait := longestWait
		if over < 16 { // beyond, the shift is past the longest
			wait = min(firstWait<<over, longestWait)
		}
		a.until = now.Add(wait)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.attempts, key)
	}, nil
}

func (t *throttle) forgetAttempts(now time.Time) {
	for k, a := range t.attempts {
		if now.Sub(a.last) > forgetAfter {
			delete(t.attempts, k)
		}
	}
	if len(t.attempts) >= maxRemembered {
		clear(t.attempts)
	}
}
