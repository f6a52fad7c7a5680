// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"container/heap"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/fnv"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
	"github.com/lazuli-dev/lazuli/internal/azuresim/model"
)

var epoch = time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)

// timeline is an Env with virtual time: events run when advance is called, in order, in the caller's goroutine.
type timeline struct {
	azuresim.Env // what this level does not ask for

	// speed is how much faster time goes here than outside, from the epoch on; 0 is 1.
	speed float64

	mu          sync.Mutex
	now         time.Time
	seq         int
	events      events
	provisioned map[string]error
	console     map[string]string
	reach       func(from, host string, port int) (string, error)
}

type event struct {
	at  time.Time
	seq int
	fn  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (t *timeline) Now() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

func (t *timeline) Outside() time.Time {
	return epoch.Add(time.Duration(float64(t.Now().Sub(epoch)) / max(1, t.speed)))
}

func (t *timeline) Until(at time.Time) time.Duration {
	return time.Duration(float64(at.Sub(t.Outside())) * max(1, t.speed))
}

func (t *timeline) After(d time.Duration, fn func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq++
	heap.Push(&t.events, event{at: t.now.Add(max(0, d)), seq: t.seq, fn: fn})
}

func (t *timeline) Rand(name string) *mathrand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return mathrand.New(mathrand.NewPCG(7, h.Sum64()))
}

func (t *timeline) Reach(from, host string, port int) (string, error) {
	return t.reach(from, host, port)
}

func (t *timeline) Provisioned(id string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.provisioned[id]; !ok {
		t.provisioned[id] = err
	}
}

func (t *timeline) Console(id, line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.console[id] += line + "\n"
}

// advance runs events until cond holds, at most for d.
func (t *timeline) advance(d time.Duration, cond func() bool) bool {
	end := t.Now().Add(d)
	for {
		if cond != nil && cond() {
			return true
		}
		t.mu.Lock()
		if len(t.events) == 0 || t.events[0].at.After(end) {
			t.now = end
			t.mu.Unlock()
			return cond != nil && cond()
		}
		e := heap.Pop(&t.events).(event)
		t.now = e.at
		t.mu.Unlock()
		e.fn()
	}
}

// lab is a cloud with one cluster's worth of machines behind one endpoint.
type lab struct {
	*timeline
	t        *testing.T
	machines *model.Machines
	pki      map[string]string
	ids      []string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return newLabAt(t, epoch)
}

func newLabAt(t *testing.T, now time.Time) *lab {
	t.Helper()
	l := &lab{
		t:        t,
		timeline: &timeline{now: now, provisioned: map[string]error{}, console: map[string]string{}},
		machines: model.New(model.Options{}), pki: newPKI(t, now),
	}
	l.reach = func(_, host string, port int) (string, error) {
		if host == "pkgs.k8s.io" {
			return "", nil
		}
		for _, id := range l.ids {
			if l.machines.Probe(id, port, "/readyz") {
				return id, nil
			}
		}
		return "", errors.New("no healthy backend")
	}
	t.Cleanup(func() {
		for _, id := range l.ids {
			l.machines.Stop(id)
		}
	})
	return l
}

// newPKI makes the files of /etc/kubernetes/pki, and "pin".
func newPKI(t *testing.T, now time.Time) map[string]string {
	t.Helper()
	out := map[string]string{}
	for i, name := range []string{"ca", "front-proxy-ca", "etcd/ca"} {
		key := newKey(t)
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		out[name+".crt"] = encode("CERTIFICATE", der)
		out[name+".key"] = encodeKey(t, key)
		if name == "ca" {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			out["pin"] = "sha256:" + hex.EncodeToString(sum[:])
		}
	}
	key := newKey(t)
	out["sa.key"] = encodeKey(t, key)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	out["sa.pub"] = encode("PUBLIC KEY", der)
	return out
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func encodeKey(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("PRIVATE KEY", der)
}

func (l *lab) id(name string) string {
	return "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/" + name
}

// data renders a template of testdata for a machine. Pairs replace @key@.
func (l *lab) data(file, name string, pairs ...string) string {
	l.t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		l.t.Fatal(err)
	}
	text := string(raw)
	for i := 0; i < len(pairs); i += 2 {
		text = strings.ReplaceAll(text, "@"+pairs[i]+"@", pairs[i+1])
	}
	text = strings.ReplaceAll(text, "@name@", name)
	text = strings.ReplaceAll(text, "@pin@", l.pki["pin"])
	text = strings.ReplaceAll(text, "@token@", "aaaaaa")
	for key, value := range l.pki {
		text = strings.ReplaceAll(text, "@"+key+"@", base64.StdEncoding.EncodeToString([]byte(value)))
	}
	return text
}

// boot starts a machine with user data.
func (l *lab) boot(name, data string) {
	l.t.Helper()
	l.ids = append(l.ids, l.id(name))
	l.machines.Start(l, l.machine(name, data))
}

func (l *lab) machine(name, data string) azuresim.Machine {
	return azuresim.Machine{
		ID: l.id(name), Name: name, ComputerName: name, Location: "westeurope", Zone: "2", Size: "Standard_D2s_v3",
		VCPUs: 2, MemoryGB: 8, PrivateIP: fmt.Sprintf("10.0.0.%d", 3+len(l.ids)), Image: "/CommunityGalleries/x", CustomData: []byte(data),
	}
}

// store is the state of the cluster that a control plane serves.
func (l *lab) store(name string) *kubeapi.Store {
	l.t.Helper()
	h, ok := l.machines.Handler(l.id(name))
	if !ok {
		l.t.Fatalf("%s serves no API:\n%s", name, l.console[l.id(name)])
	}
	server, ok := h.(*kubeapi.Server)
	if !ok {
		l.t.Fatalf("handler is a %T", h)
	}
	return server.Store()
}

func (l *lab) node(cp, name string) *corev1.Node {
	l.t.Helper()
	u, ok := l.store(cp).Get(kubeapi.Nodes, "", name)
	if !ok {
		return nil
	}
	n, err := kubeapi.As[corev1.Node](u)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func (l *lab) ready(cp, name string) corev1.ConditionStatus {
	l.t.Helper()
	if n := l.node(cp, name); n != nil {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status
			}
		}
	}
	return ""
}

// up boots the first control plane and waits for its node and its cluster-info.
func (l *lab) up() {
	l.t.Helper()
	l.boot("cp-0", l.data("init.yaml", "cp-0"))
	done := l.advance(20*time.Minute, func() bool {
		return strings.Contains(l.console[l.id("cp-0")], "initialized successfully")
	})
	if !done {
		l.t.Fatalf("the control plane does not come up:\n%s", l.console[l.id("cp-0")])
	}
}
