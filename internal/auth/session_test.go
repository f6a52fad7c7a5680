// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/seal"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// office is an authenticator whose signing key the test knows.
type office struct {
	*auth.Authenticator
	t        *testing.T
	store    store.Store
	seal     *seal.Sealer
	password lazuli.Secret
	user     string
	mu       sync.Mutex
	at       time.Time
}

func (o *office) now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at
}

func (o *office) pass(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at = o.at.Add(d)
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, store: openStore(t), at: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	boot, err := auth.Bootstrap(t.Context(), o.store, auth.BootstrapOptions{Now: o.now, Passwords: cheap})
	if err != nil {
		t.Fatal(err)
	}
	o.password, o.user = boot.Password, boot.UserUID
	if o.seal, err = seal.Open(filepath.Join(t.TempDir(), "seal.key")); err != nil {
		t.Fatal(err)
	}
	o.Authenticator, err = auth.New(auth.Config{Store: o.store, Seal: o.seal, Now: o.now, Passwords: cheap})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) signIn() lazuli.Secret {
	o.t.Helper()
	token, err := o.SignIn(o.t.Context(), "admin", o.password, remote)
	if err != nil {
		o.t.Fatal(err)
	}
	return token
}

// try reports whether a token is good, from an address of its own.
func (o *office) try(token, remote string) error {
	_, err := o.Authenticate(o.t.Context(), http.Header{"Authorization": {token}}, remote)
	return err
}

func (o *office) tenant() lazuli.Tenant {
	o.t.Helper()
	var t lazuli.Tenant
	if err := o.store.ByUnique(o.t.Context(), lazuli.TenantUnique, &t); err != nil {
		o.t.Fatal(err)
	}
	return t
}

// key opens a signing key.
func (o *office) key(i int) (id string, key []byte) {
	o.t.Helper()
	tenant := o.tenant()
	k := tenant.SigningKeys[i]
	b, err := o.seal.Unseal(k.Sealed, lazuli.SigningKeyAAD(tenant.UID, k.ID))
	if err != nil {
		o.t.Fatal(err)
	}
	return k.ID, b
}

func part(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func sign(text string, key []byte, h func() hash.Hash) string {
	m := hmac.New(h, key)
	m.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

type doc = map[string]any

// Whatever is wrong with a token, it is no credential, and the answer does not
// tell why.
func TestTokenCorpus(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	good := o.signIn().Reveal()
	kid, key := o.key(0)
	parts := strings.Split(good, ".")
	var header, claims doc
	for i, dst := range []*doc{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, dst); err != nil {
			t.Fatal(err)
		}
	}
	made := func(h, c doc) string {
		text := part(h) + "." + part(c)
		return text + "." + sign(text, key, sha256.New)
	}
	if err := o.try(made(header, claims), remote); err != nil {
		t.Fatalf("the test cannot make a good token: %v", err)
	}
	with := func(d doc, k string, v any) doc {
		out := maps.Clone(d)
		if out[k] = v; v == nil {
			delete(out, k)
		}
		return out
	}
	now := o.now().Unix()
	bad := map[string]string{
		"no signature":        parts[0] + "." + parts[1] + ".",
		"cut short":           good[:len(good)-1],
		"another letter":      good[:len(good)-5] + map[bool]string{true: "b", false: "a"}[good[len(good)-5] == 'a'] + good[len(good)-4:],
		"the payload changed": parts[0] + "." + part(with(claims, "sub", "ffffffffffffffffffffffff")) + "." + parts[2],
		"two parts":           parts[0] + "." + parts[1],
		"four parts":          good + "." + parts[2],
		"padding":             good + "=",
		"a blank behind":      good + " ",
		"empty parts":         "..",
		"no JSON":             "YQ.YQ.YQ",
		"huge":                parts[0] + "." + strings.Repeat("A", 1<<20) + "." + parts[2],
		"just too long":       made(header, with(claims, "x", strings.Repeat("x", 2048))),
		"the key itself":      base64.RawURLEncoding.EncodeToString(key),
		"unsigned, alg none":  part(doc{"alg": "none", "typ": "JWT", "kid": kid}) + "." + parts[1] + ".",
		"HS512 with the key": func() string {
			s := part(with(header, "alg", "HS512")) + "." + parts[1]
			return s + "." + sign(s, key, sha512.New)
		}(),
		"an empty key":            parts[0] + "." + parts[1] + "." + sign(parts[0]+"."+parts[1], nil, sha256.New),
		"the id as key":           parts[0] + "." + parts[1] + "." + sign(parts[0]+"."+parts[1], []byte(kid), sha256.New),
		"bits behind the padding": parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + nextLetter(parts[2][len(parts[2])-1]),
	}
	for _, alg := range []string{"none", "None", "nOnE", "", "HS384", "hs256", "RS256", "ES256", "EdDSA", "PS256"} {
		bad["alg "+alg] = made(with(header, "alg", alg), claims)
	}
	for name, v := range map[string]any{"nothing": nil, "number": 1, "list": []string{"HS256"}, "object": doc{}} {
		bad["alg is "+name] = made(with(header, "alg", v), claims)
		bad["kid is "+name] = made(with(header, "kid", v), claims)
		bad["typ is "+name] = made(with(header, "typ", v), claims)
		if name != "nothing" {
			bad["sid is "+name] = made(header, with(claims, "sid", v))
		}
	}
	for _, v := range []string{"", "x", "../../etc/passwd", "' or 1=1 --", kid + " ", strings.ToUpper(kid), "0", "null"} {
		bad["kid "+v] = made(with(header, "kid", v), claims)
	}
	for _, k := range []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "cty", "zip", "p2c"} {
		bad["header "+k] = made(with(header, k, "http://example.com/"), claims)
	}
	for _, v := range []string{"jwt", "at+jwt", "JWS", ""} {
		bad["typ "+v] = made(with(header, "typ", v), claims)
	}
	for _, k := range []string{"iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid", "gen", "auth_time"} {
		if k == "gen" {
			continue // zero of a user whose password was set once is another generation
		}
		bad["without "+k] = made(header, with(claims, k, nil))
	}
	for k, values := range map[string][]any{
		"iss":       {"", "lazul", "LAZULI", "https://lazuli", []string{"lazuli"}},
		"aud":       {"", "lazuli/session/", "lazuli/activation/" + o.tenant().UID, []string{}, []string{o.tenant().UID}, append([]any{"x"}, claims["aud"].([]any)...)},
		"sub":       {"", "admin", "ffffffffffffffffffffffff", strings.ToUpper(o.user), 1},
		"exp":       {now - 60, now - 6, 0, -1, "soon", false},
		"nbf":       {now + 60, now + 3600, "now"},
		"iat":       {now + 60, "now"},
		"gen":       {0, 2, -1, "1", 1.5, 1e40},
		"jti":       {"", 1},
		"sid":       {""},
		"auth_time": {now - int64(auth.SessionLife/time.Second), 0, -1, "then"},
	} {
		for i, v := range values {
			bad[fmt.Sprintf("%s %d: %v", k, i, v)] = made(header, with(claims, k, v))
		}
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(claims))
	rs.Header["kid"] = kid
	if bad["signed with RSA"], err = rs.SignedString(rsaKey); err != nil {
		t.Fatal(err)
	}
	if len(bad) < 100 {
		t.Errorf("only %d tokens", len(bad))
	}
	text, n := "", 0
	for name, token := range bad {
		n++
		err := o.try(token, fmt.Sprintf("10.1.%d.%d:1", n/200, n%200))
		if lazuli.CodeOf(err) != lazuli.CodeUnauthenticated {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text == "" {
			text = err.Error()
		}
		if err.Error() != text {
			t.Errorf("%s tells itself apart: %v", name, err)
		}
		if _, err := o.Refresh(t.Context(), lazuli.NewSecret(token), fmt.Sprintf("10.2.%d.%d:1", n/200, n%200)); lazuli.CodeOf(err) != lazuli.CodeUnauthenticated {
			t.Errorf("%s can be prolonged: %v", name, err)
		}
	}
	if err := o.try(good, remote); err != nil {
		t.Errorf("the good token at the end: %v", err)
	}
}

// nextLetter is another letter whose first four bits are the same, which a
// careless decoder reads as the same signature.
func nextLetter(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

// A token of one kind is none of the other.
func TestActivationIsNoSession(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var u lazuli.User
	if err := o.store.Get(t.Context(), o.user, &u); err != nil {
		t.Fatal(err)
	}
	link, err := o.ActivationToken(t.Context(), &u)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.try(link.Reveal(), remote); lazuli.CodeOf(err) != lazuli.CodeUnauthenticated {
		t.Errorf("a link opens a session: %v", err)
	}
	fine := func(*lazuli.User) error { return nil }
	next := lazuli.NewSecret("another good password")
	if _, err := o.Activate(t.Context(), o.signIn(), next, remote, fine); lazuli.CodeOf(err) != lazuli.CodeUnauthenticated {
		t.Errorf("a session sets a password: %v", err)
	}
	o.pass(auth.ActivationLife + time.Minute)
	if _, err := o.Activate(t.Context(), link, next, remote, fine); lazuli.CodeOf(err) != lazuli.CodeUnauthenticated {
		t.Errorf("a link lives for ever: %v", err)
	}
	if link, err = o.ActivationToken(t.Context(), &u); err != nil {
		t.Fatal(err)
	}
	// Many at once: one sets the password.
	var won, wg = make(chan struct{}, 10), sync.WaitGroup{}
	for i := range 10 {
		wg.Go(func() {
			if _, err := o.Activate(context.WithoutCancel(t.Context()), link, next, fmt.Sprintf("10.3.0.%d:1", i), fine); err == nil {
				won <- struct{}{}
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d of 10 uses of a link won", len(won))
	}
}

func TestSigningKeysRotate(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	first := o.signIn()
	o.signIn()
	if n := len(o.tenant().SigningKeys); n != 1 {
		t.Fatalf("%d signing keys after two sign-ins", n)
	}
	if _, key := o.key(0); bytes.Contains(o.tenant().SigningKeys[0].Sealed, key) {
		t.Error("the key is stored in clear")
	}
	o.pass(30*24*time.Hour - 5*time.Minute)
	last := o.signIn()
	o.pass(6 * time.Minute)
	next := o.signIn()
	if n := len(o.tenant().SigningKeys); n != 2 {
		t.Fatalf("%d signing keys after a month", n)
	}
	for name, tt := range map[string]struct {
		token lazuli.Secret
		ok    bool
	}{"of long ago": {first, false}, "of the old key": {last, true}, "of the new key": {next, true}} {
		if err := o.try(tt.token.Reveal(), remote); (err == nil) != tt.ok {
			t.Errorf("a token %s: %v", name, err)
		}
	}
	o.pass(31 * 24 * time.Hour)
	o.signIn()
	if n := len(o.tenant().SigningKeys); n != 2 {
		t.Errorf("%d signing keys after two months: old ones stay", n)
	}
}

// A hub that cannot open the signing keys says so, and not that the token is bad.
func TestLostSealingKey(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	token := o.signIn()
	other := authenticator(t, o.store, o.now)
	_, err := other.Authenticate(t.Context(), http.Header{"Authorization": {token.Reveal()}}, remote)
	if code := lazuli.CodeOf(err); code != lazuli.CodeInternal {
		t.Errorf("%s: %v", code, err)
	}
}

func TestEndedSessionsAreBounded(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	actor, err := o.Authenticate(t.Context(), http.Header{"Authorization": {o.signIn().Reveal()}}, remote)
	if err != nil {
		t.Fatal(err)
	}
	stays := o.signIn()
	for i := range 33 {
		token := o.signIn()
		if err := o.End(t.Context(), actor, []lazuli.Secret{token}); err != nil {
			t.Fatal(err)
		}
		if err := o.try(token.Reveal(), remote); err == nil {
			t.Fatalf("session %d goes on after its end", i)
		}
	}
	var u lazuli.User
	if err := o.store.Get(t.Context(), o.user, &u); err != nil {
		t.Fatal(err)
	}
	if len(u.Ended) > 32 {
		t.Errorf("%d ended sessions are kept", len(u.Ended))
	}
	if err := o.try(stays.Reveal(), remote); err == nil {
		t.Error("what is forgotten must not hold: all sessions end instead")
	}
}
