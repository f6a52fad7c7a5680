// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli/internal/workload"
)

func TestReady(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	if err := clusters.Ready(t.Context(), access); err != nil {
		t.Fatal(err)
	}
	answer := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	other := newCluster(t)
	for _, tt := range []struct {
		reason string
		fault  func(http.ResponseWriter, *http.Request) bool
		access workload.Access
		want   workload.Problem
		text   string
	}{
		{"a check fails", answer(500, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n"), access, workload.NotReady, "etcd"},
		{"a load balancer without a backend", answer(503, ""), access, workload.NotReady, "503"},
		{"unknown certificate", answer(401, ""), access, workload.Unauthorised, "401"},
		{"no rights yet", answer(403, ""), access, workload.Unauthorised, "403"},
		{"the connection breaks", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, access, workload.Unreachable, ""},
		{"another cluster's CA", nil, retarget(t, other.access(t, "https://x"), server(t, access), serverName), workload.TLS, "unknown authority"},
		{"another name", nil, retarget(t, access, server(t, access), "elsewhere.example.com"), workload.TLS, "elsewhere"},
		{"nobody listens", nil, retarget(t, access, "https://127.0.0.1:1", serverName), workload.Unreachable, "refused"},
		{"no kubeconfig", nil, workload.Access{UID: "x"}, workload.BadAccess, ""},
	} {
		c.setFault(tt.fault)
		err := clusters.Ready(t.Context(), tt.access)
		if workload.ProblemOf(err) != tt.want || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %s", tt.reason, err, tt.want)
		}
	}
}

func TestServerThatBreaksOffTheHandshake(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.tls.ClientAuth = tls.RequireAndVerifyClientCert
	c.tls.ClientCAs = x509.NewCertPool()
	access := c.start(t)
	clusters := newClusters(t)
	if err := clusters.Ready(t.Context(), access); workload.ProblemOf(err) != workload.TLS {
		t.Errorf("%v, want %s", err, workload.TLS)
	}
	if _, err := clusters.Nodes(t.Context(), access); workload.ProblemOf(err) != workload.TLS {
		t.Errorf("%v, want %s", err, workload.TLS)
	}
}

func server(t *testing.T, a workload.Access) string {
	t.Helper()
	var k struct {
		Clusters []struct{ Cluster struct{ Server string } }
	}
	if err := yaml.Unmarshal(a.Kubeconfig, &k); err != nil {
		t.Fatal(err)
	}
	return k.Clusters[0].Cluster.Server
}

// retarget changes the server of a kubeconfig.
func retarget(t *testing.T, a workload.Access, server, name string) workload.Access {
	t.Helper()
	text := strings.Replace(string(a.Kubeconfig), "server: "+serverOf(string(a.Kubeconfig)), "server: "+server, 1)
	text = strings.Replace(text, "tls-server-name: "+serverName, "tls-server-name: "+name, 1)
	return workload.Access{Kubeconfig: []byte(text), UID: "other-" + name + server}
}

func serverOf(text string) string {
	_, after, _ := strings.Cut(text, "server: ")
	line, _, _ := strings.Cut(after, "\n")
	return line
}

func TestReadyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		clusters := workload.New(p, slog.New(slog.DiscardHandler), workload.Options{})
		c := newCluster(t)
		started := time.Now()
		err := clusters.Ready(t.Context(), c.access(t, "https://10.0.0.1:6443"))
		if workload.ProblemOf(err) != workload.Unreachable || time.Since(started) != 5*time.Second {
			t.Errorf("a server that does not answer: %v after %s", err, time.Since(started))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := clusters.Ready(ctx, c.access(t, "https://10.0.0.1:6443")); err == nil {
			t.Error("no error under an ended context")
		}
	})
}

// Everything that is wrong with a kubeconfig is told without quoting it.
func TestBadKubeconfigs(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	good := string(c.access(t, "https://127.0.0.1:1").Kubeconfig)
	cut := func(field string) string {
		var lines []string
		for l := range strings.Lines(good) {
			if !strings.Contains(l, field) {
				lines = append(lines, l)
			}
		}
		return strings.Join(lines, "")
	}
	otherKey := string(newCluster(t).access(t, "https://127.0.0.1:1").Kubeconfig)
	_, key, _ := strings.Cut(otherKey, "client-key-data: ")
	key, _, _ = strings.Cut(key, "\n")
	_, own, _ := strings.Cut(good, "client-key-data: ")
	own, _, _ = strings.Cut(own, "\n")
	var logged bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	clusters := workload.New(&net.Dialer{}, log, workload.Options{CallTimeout: time.Second})
	for reason, text := range map[string]string{
		"garbage":          "\x00\x01" + good,
		"not YAML":         "{" + good,
		"a list":           "- " + own,
		"no CA":            cut("certificate-authority-data"),
		"no certificate":   cut("client-certificate-data"),
		"no key":           cut("client-key-data"),
		"another's key":    strings.Replace(good, own, key, 1),
		"plain http":       strings.Replace(good, "https://", "http://", 1),
		"password in URL":  strings.Replace(good, "https://", "https://u:"+own[:20]+"@", 1),
		"nobody listening": good,
		"key not base64":   strings.Replace(good, own, own+"!", 1),
	} {
		access := workload.Access{Kubeconfig: []byte(text), UID: reason}
		log.Info("using", "access", access, "again", &access)
		out := fmt.Sprintf("%v %+v %#v %s %q %d %x", access, access, access, access, access, access, access)
		raw, err := json.Marshal(map[string]any{"a": access})
		if err != nil {
			t.Fatal(err)
		}
		out += string(raw)
		for _, call := range []func() error{
			func() error { return clusters.Ready(t.Context(), access) },
			func() error { _, err := clusters.Nodes(t.Context(), access); return err },
			func() error { _, err := clusters.Apply(t.Context(), access, workload.Set{Name: "x"}); return err },
			func() error { return clusters.DeleteToken(t.Context(), access, "abcdef") },
			func() error { return clusters.MarkNode(t.Context(), access, "x", workload.Marks{}, workload.Marks{}) },
		} {
			err := call()
			if err == nil {
				t.Errorf("%s: no error", reason)
				continue
			}
			if want := map[bool]workload.Problem{true: workload.Unreachable, false: workload.BadAccess}[reason == "nobody listening"]; workload.ProblemOf(err) != want {
				t.Errorf("%s: %v, want %s", reason, err, want)
			}
			out += err.Error()
		}
		for _, secret := range []string{own[:20], key[:20], own[len(own)-30:]} {
			if strings.Contains(out, secret) || strings.Contains(logged.String(), secret) {
				t.Errorf("%s: part of the key shows in %s", reason, out)
			}
		}
	}
}

// dials counts connections.
type dials struct {
	net.Dialer

	n int
}

func (d *dials) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.n++
	return d.Dialer.DialContext(ctx, network, address)
}

func TestConnectionsAreKeptAndBounded(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	access := c.start(t)
	d := &dials{}
	clusters := workload.New(d, slog.New(slog.DiscardHandler), workload.Options{MaxClients: 2})
	t.Cleanup(clusters.Close)
	use := func(a workload.Access) {
		t.Helper()
		if err := clusters.Ready(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	named := func(uid string) workload.Access {
		a := access
		a.UID = uid
		return a
	}
	for i, tt := range []struct {
		reason string
		uid    string
		want   int
	}{
		{"first use", "a", 1}, {"kept", "a", 1}, {"second cluster", "b", 2}, {"both kept", "a", 2},
		{"a third pushes out the one that was used longest ago", "c", 3}, {"still kept", "a", 3}, {"was pushed out", "b", 4},
	} {
		use(named(tt.uid))
		if d.n != tt.want {
			t.Fatalf("%d, %s: %d connections, want %d", i, tt.reason, d.n, tt.want)
		}
	}
	clusters.Forget("b")
	clusters.Forget("never seen")
	use(named("b"))
	if d.n != 5 {
		t.Errorf("after Forget: %d connections, want 5", d.n)
	}
	renewed := c.access(t, server(t, access))
	renewed.UID = "b"
	use(renewed)
	if d.n != 6 {
		t.Errorf("with another kubeconfig: %d connections, want 6", d.n)
	}
	clusters.Close()
	use(named("b"))
	if d.n != 7 {
		t.Errorf("after Close: %d connections, want 7", d.n)
	}
}

func TestTokenAccess(t *testing.T) {
	t.Parallel()
	c, access, clusters := setup(t)
	if err := clusters.EnsureTokens(t.Context(), access, []workload.BootstrapToken{
		{ID: "abcdef", Secret: "0123456789abcdef", Expires: time.Now().Add(time.Hour), Machine: "m"},
	}); err != nil {
		t.Fatal(err)
	}
	var k map[string]any
	if err := yaml.Unmarshal(access.Kubeconfig, &k); err != nil {
		t.Fatal(err)
	}
	users, ok := k["users"].([]any)
	if !ok {
		t.Fatal("no users")
	}
	user, ok := users[0].(map[string]any)
	if !ok {
		t.Fatal("no user")
	}
	for token, want := range map[string]workload.Problem{"abcdef.0123456789abcdef": "", "abcdef.0000000000000000": workload.Unauthorised} {
		user["user"] = map[string]any{"token": token}
		raw, err := yaml.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		c.addNode(t, readyNode("n"))
		// A bootstrap token may read one Node but not list them.
		err = clusters.MarkNode(t.Context(), workload.Access{Kubeconfig: raw, UID: token}, "n", workload.Marks{}, workload.Marks{})
		if workload.ProblemOf(err) != want || err != nil && strings.Contains(err.Error(), "0000000000") {
			t.Errorf("with a token: %v, want %q", err, want)
		}
	}
	if _, ok := errors.AsType[*workload.AccessError](clusters.Ready(t.Context(), workload.Access{})); !ok {
		t.Error("an empty access is not an AccessError")
	}
}
