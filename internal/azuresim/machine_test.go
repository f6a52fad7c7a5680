// SPDX-License-Identifier: Apache-2.0

package azuresim_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// servers are machines that are ready after half a minute and then speak TLS on 6443.
type servers struct {
	auth *azuresim.Authority
	fail error

	mu     sync.Mutex
	env    azuresim.Env
	booted map[string]azuresim.Machine
	up     map[string]bool
	starts int
	conns  sync.WaitGroup
}

func newServers(t *testing.T) *servers {
	t.Helper()
	a, err := azuresim.NewAuthority("lab.westeurope.cloudapp.azure.com")
	if err != nil {
		t.Fatal(err)
	}
	return &servers{auth: a, booted: map[string]azuresim.Machine{}, up: map[string]bool{}}
}

func (v *servers) Start(env azuresim.Env, m azuresim.Machine) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.env, v.booted[m.ID] = env, m
	v.starts++
	env.Console(m.ID, "booting "+m.Name)
	env.After(20*time.Second, func() { env.Provisioned(m.ID, v.fail) })
	env.After(30*time.Second, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.up[m.ID] = true
	})
}

func (v *servers) Stop(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.up, id)
}

func (v *servers) Probe(id string, port int, path string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.up[id] && port == 6443 && path == "/readyz"
}

func (v *servers) Dial(_ context.Context, id string, port int) (net.Conn, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.up[id] || port != 6443 {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	v.conns.Go(func() {
		defer func() { _ = far.Close() }()
		c := tls.Server(far, v.auth.ServerTLS())
		line := make([]byte, 5)
		if _, err := io.ReadFull(c, line); err == nil {
			_, _ = fmt.Fprintf(c, "%s from %s", line, v.name(id))
		}
		_ = c.Close()
	})
	return near, nil
}

func (v *servers) name(id string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.booted[id].Name
}

// hello speaks TLS through a connection and returns what the machine says.
func hello(c net.Conn, pool *x509.CertPool) (string, error) {
	defer func() { _ = c.Close() }()
	t := tls.Client(c, &tls.Config{RootCAs: pool, ServerName: "lab.westeurope.cloudapp.azure.com", MinVersion: tls.VersionTLS12})
	if _, err := t.Write([]byte("hello")); err != nil {
		return "", err
	}
	raw, err := io.ReadAll(t)
	return string(raw), err
}

func lbBody() string {
	lb := networkBase + "loadBalancers/lb"
	return fmt.Sprintf(`{"location":"westeurope","sku":{"name":"Standard"},"properties":{
	"frontendIPConfigurations":[{"name":"f","properties":{"publicIPAddress":{"id":"%[1]spublicIPAddresses/p"}}}],
	"backendAddressPools":[{"name":"cp"}],
	"probes":[{"name":"z","properties":{"protocol":"Https","port":6443,"requestPath":"/readyz","intervalInSeconds":5}}],
	"loadBalancingRules":[{"name":"api","properties":{"protocol":"Tcp","frontendPort":6443,"backendPort":6443,
	"frontendIPConfiguration":{"id":"%[2]s/frontendIPConfigurations/f"},"backendAddressPool":{"id":"%[2]s/backendAddressPools/cp"},"probe":{"id":"%[2]s/probes/z"}}}]}}`,
		networkBase, lb)
}

// apiNetwork makes a network with a load balancer; allowed is the source that may reach 6443; nat gives a way out.
func apiNetwork(r *rest, allowed string, nat bool) {
	r.must(http.MethodPut, networkBase+"publicIPAddresses/p", pipBody)
	r.must(http.MethodPut, networkBase+"publicIPAddresses/out", strings.Replace(pipBody, `,"dnsSettings":{"domainNameLabel":"lab"}`, "", 1))
	rules := ""
	switch allowed {
	case "", "no group":
	case "no probes":
		allowed = "Internet"
		deny := strings.NewReplacer(`"destinationPortRange":"22"`, `"destinationPortRange":"*"`, `"sourceAddressPrefix":"*"`, `"sourceAddressPrefix":"AzureLoadBalancer"`, "Allow", "Deny")
		rules = deny.Replace(rule("probes", 200)) + ","
		fallthrough
	default:
		rules += strings.Replace(strings.Replace(rule("api", 100), `"destinationPortRange":"22"`, `"destinationPortRange":"6443"`, 1),
			`"sourceAddressPrefix":"*"`, fmt.Sprintf(`"sourceAddressPrefix":%q`, allowed), 1)
	}
	r.must(http.MethodPut, networkBase+"networkSecurityGroups/g", `{"location":"westeurope","properties":{"securityRules":[`+rules+`]}}`)
	settle()
	r.must(http.MethodPut, networkBase+"loadBalancers/lb", lbBody())
	extra := ""
	if allowed != "no group" {
		extra = fmt.Sprintf(`,"networkSecurityGroup":{"id":"%snetworkSecurityGroups/g"}`, networkBase)
	}
	if nat {
		r.must(http.MethodPut, networkBase+"natGateways/nat", fmt.Sprintf(
			`{"location":"westeurope","sku":{"name":"Standard"},"properties":{"publicIpAddresses":[{"id":"%spublicIPAddresses/out"}]}}`, networkBase))
		settle()
		extra += fmt.Sprintf(`,"natGateway":{"id":"%snatGateways/nat"}`, networkBase)
	}
	r.must(http.MethodPut, networkBase+"virtualNetworks/v", vnetBody(fmt.Sprintf(`{"name":"a","properties":{"addressPrefix":"10.0.1.0/24"%s}}`, extra)))
	settle()
}

// machine makes a NIC in the pool and a machine on it; it returns the reply's headers.
func machine(r *rest, name string) http.Header {
	r.t.Helper()
	nic := strings.Replace(nicBody("a"), `"subnet"`, fmt.Sprintf(`"loadBalancerBackendAddressPools":[{"id":"%sloadBalancers/lb/backendAddressPools/cp"}],"subnet"`, networkBase), 1)
	r.must(http.MethodPut, networkBase+"networkInterfaces/"+name, nic)
	code, body, h := r.arm(http.MethodPut, computeBase+"virtualMachines/"+name, vmBody(vmOpts{nic: name}))
	if code != http.StatusCreated {
		r.t.Fatalf("create machine: %d %v", code, body)
	}
	return h
}

func TestLoadBalancer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newServers(t)
		s := start(t, azuresim.Config{Seed: 5, Machines: v}, world())
		r := login(t, s, client)
		apiNetwork(r, "Internet", true)
		machine(r, "m1")
		machine(r, "m2")
		const address = "lab.westeurope.cloudapp.azure.com:6443"
		if _, err := s.DialContext(t.Context(), "tcp", address); !errors.Is(err, azuresim.ErrUnreachable) {
			t.Fatalf("before a machine is ready: %v", err)
		}
		time.Sleep(2 * time.Minute)
		seen := map[string]int{}
		for range 4 {
			c, err := s.DialContext(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			said, err := hello(c, v.auth.Pool())
			if err != nil {
				t.Fatal(err)
			}
			seen[said]++
		}
		if seen["hello from m1"] != 2 || seen["hello from m2"] != 2 {
			t.Errorf("answers %v, want both machines in turn", seen)
		}
		if to, err := s.Reach(vmID("m1"), "lab.westeurope.cloudapp.azure.com", 6443); err != nil || to == "" {
			t.Errorf("from a node through the NAT gateway: %q %v", to, err)
		}
		if to, err := s.Reach(vmID("m1"), "10.0.1.5", 6443); err != nil || to != vmID("m2") {
			t.Errorf("inside the network: %q %v", to, err)
		}
		if to, err := s.Reach(vmID("m1"), "mcr.example", 443); err != nil || to != "" {
			t.Errorf("the Internet: %q %v", to, err)
		}
		r.must(http.MethodPost, computeBase+"virtualMachines/m1/powerOff", "")
		time.Sleep(5 * time.Minute)
		c, err := s.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if said, err := hello(c, v.auth.Pool()); err != nil || said != "hello from m2" {
			t.Errorf("with m1 off: %q %v", said, err)
		}
		v.conns.Wait()
	})
}

func TestReachRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason, allowed string
		nat, fromNode   bool
		want            bool
	}{
		{reason: "a Standard load balancer denies inbound without a rule", allowed: "", nat: true, want: false},
		{reason: "nor without a security group", allowed: "no group", nat: true, want: false},
		{reason: "probes that a rule drops make no backend healthy", allowed: "no probes", nat: true, want: false},
		{reason: "the client's own address is allowed", allowed: "127.0.0.1/32", nat: true, want: true},
		{reason: "another address is allowed", allowed: "203.0.113.0/24", nat: true, want: false},
		{reason: "a node comes from the NAT gateway, which no rule lets in", allowed: "203.0.113.0/24", nat: true, fromNode: true, want: false},
		{reason: "a node without a NAT gateway has no way out", allowed: "Internet", nat: false, fromNode: true, want: false},
		{reason: "a node with one has", allowed: "Internet", nat: true, fromNode: true, want: true},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				v := newServers(t)
				s := start(t, azuresim.Config{Seed: 5, Machines: v, NoLatency: true}, world())
				r := login(t, s, client)
				apiNetwork(r, tc.allowed, tc.nat)
				machine(r, "m1")
				settle()
				var err error
				if tc.fromNode {
					r.must(http.MethodGet, groupID, "") // A request drives the events.
					_, err = s.Reach(vmID("m1"), "lab.westeurope.cloudapp.azure.com", 6443)
				} else {
					var c net.Conn
					if c, err = s.DialContext(t.Context(), "tcp", "lab.westeurope.cloudapp.azure.com:6443"); err == nil {
						_ = c.Close()
					}
				}
				if (err == nil) != tc.want || err != nil && !errors.Is(err, azuresim.ErrUnreachable) {
					t.Errorf("error %v, want reachable %v", err, tc.want)
				}
				v.conns.Wait()
			})
		})
	}
}

// TestListeners opens real sockets on 127.64.0.0/10 and closes them with the load balancer.
func TestListeners(t *testing.T) {
	t.Parallel()
	v := newServers(t)
	s := start(t, azuresim.Config{Seed: 5, Speed: 200, NoLatency: true, Machines: v, Listen: (&net.ListenConfig{}).Listen}, world())
	go func() { _ = s.Run(t.Context()) }()
	r := login(t, s, client)
	put := func(path, body string) {
		t.Helper()
		for range 400 {
			code, out, _ := r.arm(http.MethodPut, path, body)
			if code < 300 {
				return
			}
			if code != http.StatusTooManyRequests {
				t.Fatalf("%s: %d %v", path, code, out)
			}
			<-time.After(20 * time.Millisecond)
		}
		t.Fatalf("%s: never ready", path)
	}
	api := strings.Replace(rule("api", 100), `"destinationPortRange":"22"`, `"destinationPortRange":"6443"`, 1)
	put(networkBase+"publicIPAddresses/p", pipBody)
	put(networkBase+"networkSecurityGroups/g", `{"location":"westeurope","properties":{"securityRules":[`+api+`]}}`)
	put(networkBase+"loadBalancers/lb", lbBody())
	put(networkBase+"virtualNetworks/v", vnetBody(fmt.Sprintf(`{"name":"a","properties":{"addressPrefix":"10.0.1.0/24","networkSecurityGroup":{"id":"%snetworkSecurityGroups/g"}}}`, networkBase)))
	nic := strings.Replace(nicBody("a"), `"subnet"`, fmt.Sprintf(`"loadBalancerBackendAddressPools":[{"id":"%sloadBalancers/lb/backendAddressPools/cp"}],"subnet"`, networkBase), 1)
	put(networkBase+"networkInterfaces/m1", nic)
	put(computeBase+"virtualMachines/m1", vmBody(vmOpts{nic: "m1"}))
	addr, err := s.LookupHost("lab.westeurope.cloudapp.azure.com")
	if err != nil || !strings.HasPrefix(addr.String(), "127.") {
		t.Fatalf("address %s %v", addr, err)
	}
	said := ""
	for range 400 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", net.JoinHostPort(addr.String(), "6443"))
		if err == nil {
			if said, err = hello(c, v.auth.Pool()); err == nil {
				break
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	if said != "hello from m1" {
		t.Fatalf("through the socket: %q", said)
	}
	r.must(http.MethodDelete, networkBase+"loadBalancers/lb", "")
	for range 400 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", net.JoinHostPort(addr.String(), "6443"))
		if err != nil {
			return
		}
		_ = c.Close()
		<-time.After(20 * time.Millisecond)
	}
	t.Error("the socket outlives its load balancer")
}
