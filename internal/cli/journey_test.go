// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lazuli-dev/lazuli/internal/cli"
	"github.com/lazuli-dev/lazuli/internal/contract"
)

// exampleFile is the example as a user has it.
const exampleFile = "../../examples/cluster.yaml"

// background runs a command until stop, which returns its exit code and what
// it said.
type background struct {
	cancel context.CancelFunc
	done   chan int
	said   safeBuffer
	once   sync.Once
	code   int
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func nothing(string) string { return "" }

// run starts a command whose hub, if it has one, has every answer held against
// the contract.
func run(t *testing.T, getenv func(string) string, args ...string) *background {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &background{cancel: cancel, done: make(chan int, 1)}
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	checked := func(h http.Handler) http.Handler {
		return c.Handler(h, func(err error) { t.Errorf("not as the contract has it: %v", err) })
	}
	go func() { b.done <- cli.RunHub(ctx, args, &b.said, &b.said, getenv, checked) }()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *background) stop() int {
	b.once.Do(func() {
		b.cancel()
		b.code = <-b.done
	})
	return b.code
}

// environment waits for an environment file and reads it.
func (b *background) environment(t *testing.T, file string) map[string]string {
	t.Helper()
	ready := time.NewTicker(10 * time.Millisecond)
	defer ready.Stop()
	for {
		if text, err := os.ReadFile(file); err == nil {
			env := map[string]string{}
			for line := range strings.Lines(string(text)) {
				name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
				env[name] = value
			}
			return env
		}
		select {
		case code := <-b.done:
			b.done <- code
			t.Fatalf("ended with %d before it was ready:\n%s", code, b.said.String())
		case <-t.Context().Done():
			t.Fatalf("not ready:\n%s", b.said.String())
		case <-ready.C:
		}
	}
}

func lookup(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

// session is a user at a shell.
type session struct {
	t   *testing.T
	env map[string]string
	log strings.Builder
}

// do runs a command, wants its exit code, and returns its standard output.
func (s *session) do(want int, args ...string) string {
	s.t.Helper()
	var out, errOut bytes.Buffer
	code := cli.Run(s.t.Context(), args, strings.NewReader(""), &out, &errOut, lookup(s.env))
	if code != want {
		s.t.Fatalf("lazuli %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.String(), errOut.String())
	}
	fmt.Fprintf(&s.log, "$ lazuli %s\n%s", normal(strings.Join(args, " ")), normal(out.String()))
	if text := progressLines.ReplaceAllString(errOut.String(), ""); text != "" {
		fmt.Fprintf(&s.log, "%s", normal(text))
	}
	if code != 0 {
		fmt.Fprintf(&s.log, "(exit code %d)\n", code)
	}
	s.log.WriteString("\n")
	return out.String()
}

var progressLines = regexp.MustCompile(`(?m)^\[ *[0-9.hms]+\].*\n`)

// What differs from run to run.
var differs = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\b[0-9a-f]{24}\b`), "<uid-uid-uid-uid-uid-uid>"},
	{regexp.MustCompile(`demo-[0-9a-f]{6}-[0-9a-f]{8}\.`), "demo-<uid>-<label>."},
	{regexp.MustCompile(`demo-[0-9a-f]{6}-(cp|general)-[a-z0-9]{5}`), "demo-<uid>-$1-<id>"},
	{regexp.MustCompile(`\b[0-9]+(\.[0-9])?[smh]\b`), "0s"},
	{regexp.MustCompile(`/\S*/TestJourney[0-9]+/[0-9]+/`), "TMP/"},
	{regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z`), "<time>"},
	{regexp.MustCompile(`(\S) {2,}`), "$1  "}, // columns are as wide as what was in them
	{regexp.MustCompile(`(Standard_\S+  )[123](  10\.)`), "$1<zone>$2"},
}

func normal(s string) string {
	for _, d := range differs {
		s = d.re.ReplaceAllString(s, d.to)
	}
	return s
}

// TestJourney is a user's whole way, against the hub and simulated Azure, over
// the wire.
func TestJourney(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "env")
	demo := run(t, nothing, "demo", "--serve-only", "--listen", "127.0.0.1:0", "--speed", "200", "--env-file", file)
	env := demo.environment(t, file)
	s := &session{t: t, env: env}

	s.do(cli.ExitOK, "cluster", "list")
	s.do(cli.ExitOK, "account", "validate")
	s.do(cli.ExitOK, "apply", "-f", exampleFile)
	s.do(cli.ExitOK, "cluster", "watch", "demo")
	s.do(cli.ExitOK, "apply", "-f", exampleFile)
	s.do(cli.ExitOK, "account", "list")
	s.do(cli.ExitOK, "account", "get", "AZURE", "-o", "yaml")
	s.do(cli.ExitOK, "profile", "list")
	s.do(cli.ExitOK, "profile", "get", "base@1.0.0")
	s.do(cli.ExitOK, "pack", "list")
	s.do(cli.ExitOK, "cluster", "list")
	s.do(cli.ExitOK, "cluster", "get", "demo")
	tasks := s.do(cli.ExitOK, "cluster", "tasks", "demo")
	if n := strings.Count(tasks, " Done "); n < 15 {
		t.Errorf("%d tasks are done:\n%s", n, tasks)
	}
	if text := s.do(cli.ExitOK, "cluster", "graph", "demo"); !strings.HasPrefix(text, "flowchart") {
		t.Errorf("not a graph: %s", text)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	s.do(cli.ExitOK, "kubeconfig", "demo", "-o", kubeconfig)
	if info, err := os.Stat(kubeconfig); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig: %v, %v", info, err)
	}
	if text := s.do(cli.ExitOK, "kubeconfig", "demo"); !strings.Contains(text, "kind: Config") {
		t.Error("no kubeconfig on standard output")
	}

	s.do(cli.ExitNotFound, "cluster", "get", "nobody")
	s.do(cli.ExitNotFound, "profile", "get", "base@9.9.9")
	s.do(cli.ExitRefused, "account", "delete", "azure")
	s.do(cli.ExitRefused, "profile", "delete", "base")
	bad := filepath.Join(dir, "bad.yaml")
	text, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	write(t, bad, strings.NewReplacer("name: demo", "name: other", "Standard_D4s_v3", "Standard_Nothing").Replace(string(text)))
	s.do(cli.ExitRefused, "apply", "-f", bad)
	write(t, bad, strings.Replace(string(text), "tag: 1.36.6", "tag: 1.37.2", 1))
	s.do(cli.ExitUsage, "apply", "-f", bad)
	key := filepath.Join(dir, "key.pub")
	write(t, key, "-----BEGIN OPENSSH PRIVATE KEY-----\n")
	s.do(cli.ExitUsage, createSecond(key)...)
	write(t, key, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOAgUzN2qjFauUmQRzphRZbQAw5VpMOpR2qcU7yRy2lX nobody@example\n")
	s.do(cli.ExitRefused, append(createSecond(key), "--control-plane-type", "Standard_D2_v2")...)
	s.do(cli.ExitOK, append(createSecond(key), "--wait")...)
	s.do(cli.ExitOK, "cluster", "list")
	s.do(cli.ExitOK, "cluster", "delete", "second", "--wait")
	s.do(cli.ExitTimeout, "cluster", "delete", "demo", "--wait", "--timeout", "1ns")
	s.do(cli.ExitOK, "cluster", "delete", "demo", "--wait")
	s.do(cli.ExitNotFound, "cluster", "get", "demo")
	s.do(cli.ExitOK, "cluster", "list")
	s.do(cli.ExitOK, "account", "delete", "azure")
	s.do(cli.ExitOK, "profile", "delete", "base")
	golden(t, "journey.txt", stable(s.log.String()))

	if strings.Contains(s.log.String(), env["AZURE_CLIENT_SECRET"]) || strings.Contains(s.log.String(), env["LAZULI_API_KEY"]) {
		t.Error("a secret was printed")
	}
	caFile := env["LAZULI_CA_FILE"]
	if code := demo.stop(); code != cli.ExitOK {
		t.Errorf("stopped with %d:\n%s", code, demo.said.String())
	}
	for _, left := range []string{file, caFile, filepath.Dir(filepath.Dir(caFile))} {
		if _, err := os.Stat(left); err == nil {
			t.Errorf("%s was left behind", left)
		}
	}
}

func createSecond(key string) []string {
	return []string{
		"cluster", "create", "second", "--account", "azure", "--profile", "base", "--ssh-key-file", key, "--tag", "team=platform",
		"--worker", "name=a,size=2,type=Standard_D4s_v3,disk=80,zones=1/2",
	}
}

// stable leaves out what has a place and a content of its own each time: the
// tables of tasks, the graph, the kubeconfig.
func stable(log string) string {
	var out []string
	for part := range strings.SplitSeq(log, "\n$ ") {
		command, _, _ := strings.Cut(part, "\n")
		for _, skip := range []string{"lazuli cluster tasks demo", "lazuli cluster graph demo", "lazuli kubeconfig demo"} {
			if strings.TrimPrefix(command, "$ ") == skip {
				part = command + "\n(left out)\n"
			}
		}
		out = append(out, part)
	}
	return strings.Join(out, "\n$ ")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServeAndSimApart: a hub finds a simulator of another process by what
// that one wrote, and both end in order.
func TestServeAndSimApart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "env")
	sim := run(t, nothing, "sim", "--listen", "127.0.0.1:0", "--speed", "200", "--env-file", file)
	env := sim.environment(t, file)
	env["LAZULI_LISTEN"], env["LAZULI_DATADIR"] = "127.0.0.1:0", filepath.Join(dir, "data")
	hub := run(t, lookup(env), "serve")
	said := regexp.MustCompile(`serves at (\S+);`)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for said.FindStringSubmatch(hub.said.String()) == nil {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(hub.said.String())
		}
	}
	key, err := os.ReadFile(filepath.Join(dir, "data", "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	env["LAZULI_URL"], env["LAZULI_API_KEY"] = said.FindStringSubmatch(hub.said.String())[1], strings.TrimSpace(string(key))
	env["LAZULI_CA_FILE"] = filepath.Join(dir, "data", "ca.crt")
	s := &session{t: t, env: env}
	s.do(cli.ExitOK, "account", "create", "azure")
	env["AZURE_CLIENT_SECRET"] = "wrong"
	s.do(cli.ExitRefused, "account", "validate")
	if code := hub.stop(); code != cli.ExitOK {
		t.Errorf("the hub stopped with %d:\n%s", code, hub.said.String())
	}
	s.do(cli.ExitFailure, "account", "list")
	if code := sim.stop(); code != cli.ExitOK {
		t.Errorf("the simulator stopped with %d:\n%s", code, sim.said.String())
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the environment file was left behind")
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bad.yaml"), "apiVersion: lazuli.io/v1alpha1\nkind: Cluster\nmetadata: {name: x}\nspec: {sise: 1}\n")
	write(t, filepath.Join(dir, "config.yaml"), "listn: x\n")
	for _, tt := range []struct {
		reason string
		args   []string
		want   string
	}{
		{"a noun that does not exist", []string{"clutser"}, "did you mean cluster?"},
		{"a verb that does not exist", []string{"cluster", "lst"}, `"lst" is no command of "lazuli cluster"; did you mean list`},
		{"an unknown flag", []string{"cluster", "list", "--foo"}, "unknown flag: --foo"},
		{"too few arguments", []string{"cluster", "get"}, "accepts 1 arg(s), received 0"},
		{"no manifest", []string{"apply"}, "-f FILE is required"},
		{"a manifest that is not there", []string{"apply", "-f", filepath.Join(dir, "none")}, "no such file"},
		{"a bad manifest", []string{"apply", "-f", filepath.Join(dir, "bad.yaml")}, "bad.yaml:4: spec.sise: unknown field"},
		{"no key", []string{"cluster", "list"}, "LAZULI_API_KEY"},
		{"a bad URL", []string{"cluster", "list", "--api-key", "k", "--url", "nonsense"}, "is not https://host:port"},
		{"a bad key of the configuration", []string{"serve", "--config", filepath.Join(dir, "config.yaml")}, ":1: listn: unknown key"},
		{"a bad --set", []string{"serve", "--set", "listen"}, "is not KEY=VALUE"},
		{"an unknown output", []string{"version", "-o", "xml"}, "is none of table, json, yaml"},
		{"a standstill", []string{"sim", "--speed", "0"}, "is not above 0"},
		{"contradicting flags", []string{"demo", "--once", "--serve-only"}, "exclude each other"},
		{"an example that does not exist", []string{"demo", "--example", "x"}, "none of cluster, ha-cluster and real-nodes"},
		{"flags of a cluster", []string{"cluster", "create", "x"}, "--account is required"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			var errOut bytes.Buffer
			code := cli.Run(t.Context(), tt.args, strings.NewReader(""), io.Discard, &errOut, nothing)
			if code != cli.ExitUsage || !strings.Contains(errOut.String(), tt.want) {
				t.Errorf("exit code %d: %s", code, errOut.String())
			}
		})
	}
}

func TestDemoShowsHighAvailability(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := cli.Run(t.Context(), []string{"demo", "--help"}, strings.NewReader(""), &out, io.Discard, nothing); code != cli.ExitOK {
		t.Fatalf("exit code %d", code)
	}
	if !strings.Contains(out.String(), `(default ha-cluster;`) {
		t.Errorf("another example is the default:\n%s", out.String())
	}
}

// Where real nodes cannot be had, the command says in one line what is missing,
// and leaves nothing half-made.
func TestRealNodesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"sim", "demo"} {
		for _, level := range []string{"vm", "process", "hologram"} {
			cache := t.TempDir()
			var errOut bytes.Buffer
			env := lookup(map[string]string{"LAZULI_SIMNODE_CACHE": cache})
			code := cli.Run(t.Context(), []string{command, "--nodes", level}, strings.NewReader(""), io.Discard, &errOut, env)
			if code != cli.ExitUsage || strings.Count(errOut.String(), "\n") != 1 {
				t.Errorf("%s --nodes %s: exit code %d: %s", command, level, code, &errOut)
			}
			if left, err := os.ReadDir(cache); err != nil || len(left) > 0 {
				t.Errorf("%s --nodes %s left %v (%v)", command, level, left, err)
			}
		}
	}
}

func TestPrintConfigFromEnvironment(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	env := lookup(map[string]string{"LAZULI_LISTEN": "127.0.0.1:1", "LAZULI_LOG_LEVEL": "debug"})
	code := cli.Run(t.Context(), []string{"serve", "--print-config", "--listen", "127.0.0.1:2"}, strings.NewReader(""), &out, io.Discard, env)
	for _, want := range []string{"listen: 127.0.0.1:2\n", "level: debug\n"} {
		if code != cli.ExitOK || !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}

func TestHelpAndCompletion(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"cluster"}, {"cluster", "create", "--help"}, {"completion", "bash"}, {"version"}} {
		var out bytes.Buffer
		if code := cli.Run(t.Context(), args, strings.NewReader(""), &out, io.Discard, nothing); code != cli.ExitOK || out.Len() == 0 {
			t.Errorf("%v: exit code %d, %d bytes", args, code, out.Len())
		}
	}
	if !slices.IsSorted([]int{cli.ExitOK, cli.ExitFailure, cli.ExitUsage, cli.ExitNotFound, cli.ExitRefused, cli.ExitTimeout}) {
		t.Error("the exit codes are a contract with scripts")
	}
}
