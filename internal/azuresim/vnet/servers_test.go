// SPDX-License-Identifier: Apache-2.0

package vnet_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/lazuli-dev/lazuli/internal/azuresim/vnet"
)

func guestPort() vnet.Port {
	return portOf(idA, "node-a", "10.0.1.0/24", "10.0.1.4", "00:0d:3a:00:00:01", nil)
}

// discover is a client's message with options as code, value pairs.
func discover(mac, current string, options ...[]byte) []byte {
	m := make([]byte, 236, 300)
	m[0], m[1], m[2] = 1, 1, 6
	copy(m[4:], "\x01\x02\x03\x04")
	copy(m[28:], mac)
	if current != "" {
		copy(m[12:], netip.MustParseAddr(current).AsSlice())
	}
	m = append(m, 99, 130, 83, 99)
	for _, o := range options {
		m = append(append(m, o[0], byte(len(o)-1)), o[1:]...)
	}
	return append(m, 255)
}

func TestDHCP(t *testing.T) {
	t.Parallel()
	const mac = "\x00\x0d\x3a\x00\x00\x01"
	kind := func(k byte) []byte { return []byte{53, k} }
	wanted := func(a string) []byte { return append([]byte{50}, netip.MustParseAddr(a).AsSlice()...) }
	server := func(a string) []byte { return append([]byte{54}, netip.MustParseAddr(a).AsSlice()...) }
	for _, c := range []struct {
		reason  string
		message []byte
		kind    byte // 0: no answer
		to      string
	}{
		{"discover is offered", discover(mac, "", kind(1)), 2, "255.255.255.255"},
		{"selecting", discover(mac, "", kind(3), wanted("10.0.1.4"), server("168.63.129.16")), 5, "255.255.255.255"},
		{"after a reboot", discover(mac, "", kind(3), wanted("10.0.1.4")), 5, "255.255.255.255"},
		{"renewing is answered to the address", discover(mac, "10.0.1.4", kind(3)), 5, "10.0.1.4"},
		{"another address is refused", discover(mac, "", kind(3), wanted("10.0.1.5")), 6, "255.255.255.255"},
		{"inform has no lease", discover(mac, "10.0.1.4", kind(8)), 5, "10.0.1.4"},
		{"another server was chosen", discover(mac, "", kind(3), wanted("10.0.1.4"), server("10.0.1.1")), 0, ""},
		{"release", discover(mac, "10.0.1.4", kind(7)), 0, ""},
		{"another machine", discover("\x00\x0d\x3a\x00\x00\x02", "", kind(1)), 0, ""},
		{"no type", discover(mac, ""), 0, ""},
		{"cut within an option", discover(mac, "", kind(1))[:242], 0, ""},
		{"empty", nil, 0, ""},
	} {
		reply, to := vnet.AnswerDHCP(guestPort(), c.message)
		if c.kind == 0 {
			if reply != nil {
				t.Errorf("%s: answered", c.reason)
			}
			continue
		}
		options, ok := vnet.DHCPOptions(reply)
		if !ok || len(reply) < 300 || reply[0] != 2 || !bytes.Equal(reply[4:8], []byte{1, 2, 3, 4}) || string(reply[28:34]) != mac {
			t.Errorf("%s: not a reply: %x", c.reason, reply)
			continue
		}
		if got := options[53][0]; got != c.kind || to.String() != c.to {
			t.Errorf("%s: kind %d to %s, want %d to %s", c.reason, got, to, c.kind, c.to)
		}
		address := netip.AddrFrom4([4]byte(reply[16:20])).String()
		switch {
		case c.kind == 6:
			if address != "0.0.0.0" || options[1] != nil {
				t.Errorf("%s: a refusal with an address: %s", c.reason, address)
			}
		case c.message[242] == 8:
			if address != "0.0.0.0" || options[51] != nil || options[6] == nil {
				t.Errorf("%s: %s %v", c.reason, address, options)
			}
		case address != "10.0.1.4":
			t.Errorf("%s: address %s", c.reason, address)
		}
	}
	reply, _ := vnet.AnswerDHCP(guestPort(), discover(mac, "", kind(1), []byte{61, 1, 2}))
	options, _ := vnet.DHCPOptions(reply)
	for code, want := range map[byte]string{
		1: "ffffff00", 3: "0a000101", 6: "a83f8110", 12: "6e6f64652d61", 26: "05dc", 51: "ffffffff", 54: "a83f8110", 61: "0102", 245: "a83f8110",
		121: "00" + "0a000101" + "20a83f8110" + "0a000101" + "20a9fea9fe" + "0a000101",
	} {
		if got := hex.EncodeToString(options[code]); got != want {
			t.Errorf("option %d: %s, want %s", code, got, want)
		}
	}
}

func FuzzDHCP(f *testing.F) {
	f.Add(discover("\x00\x0d\x3a\x00\x00\x01", "", []byte{53, 1}))
	f.Fuzz(func(t *testing.T, message []byte) {
		if reply, _ := vnet.AnswerDHCP(guestPort(), message); reply != nil {
			if _, ok := vnet.DHCPOptions(reply); !ok {
				t.Errorf("a reply that nobody understands: %x", reply)
			}
		}
	})
}

func TestDNS(t *testing.T) {
	t.Parallel()
	resolve := func(name string) (netip.Addr, bool) {
		return netip.MustParseAddr("10.0.1.4"), name == "node-a."
	}
	for _, c := range []struct {
		reason, name string
		typ          dnsmessage.Type
		rcode        dnsmessage.RCode
		answers      int
	}{
		{"known", "node-a.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, 1},
		{"known, but has no IPv6", "node-a.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, 0},
		{"outside", "github.com.", dnsmessage.TypeA, dnsmessage.RCodeNameError, 0},
	} {
		q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(c.name), Type: c.typ, Class: dnsmessage.ClassINET,
		}}}
		packed, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(vnet.AnswerName(packed, resolve)); err != nil {
			t.Fatal(err)
		}
		if m.ID != 7 || !m.Response || !m.RecursionAvailable || m.RCode != c.rcode || len(m.Answers) != c.answers || len(m.Questions) != 1 {
			t.Errorf("%s: %+v", c.reason, m)
		}
		if vnet.AnswerName(vnet.AnswerName(packed, resolve), resolve) != nil {
			t.Errorf("%s: an answer is answered", c.reason)
		}
	}
	if vnet.AnswerName([]byte("short"), resolve) != nil {
		t.Error("rubbish is answered")
	}
	m := binary.BigEndian.AppendUint16(nil, 9)
	m = append(m, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	if reply := vnet.AnswerName(m, resolve); len(reply) < 4 || reply[3]&0xf != byte(dnsmessage.RCodeFormatError) {
		t.Errorf("no question: %x", reply)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	h := vnet.MetadataHandler(vnet.Source(guestPort()))
	for _, c := range []struct {
		path   string
		status int
		want   string
		plain  bool // without the header
	}{
		{"/metadata/instance/compute/vmId?api-version=2021-08-01&format=text", 200, "11111111-2222-3333-4444-555555555555", false},
		{"/metadata/instance/compute/osProfile?api-version=2021-08-01", 200, `{"adminUsername":"azureuser","computerName":"node-a","disablePasswordAuthentication":"true"}`, false},
		{"/metadata/instance/network/interface/0/macAddress?api-version=2021-08-01&format=text", 200, "000D3A000001", false},
		{"/metadata/instance/network/interface/0/ipv4?api-version=2019-06-01", 200, `{"ipAddress":[{"privateIpAddress":"10.0.1.4","publicIpAddress":""}],"subnet":[{"address":"10.0.1.0","prefix":"24"}]}`, false},
		{"/metadata/instance?api-version=2021-08-01&format=text", 200, "compute/\nnetwork/", false},
		{"/metadata/instance/compute/tags?api-version=2021-08-01&format=text", 200, "role:node", false},
		{"/metadata/instance/compute/publisher?api-version=2021-08-01&format=text", 200, "Canonical", false},
		{"/metadata/instance/compute/offer?api-version=2021-08-01&format=text", 200, "ubuntu-24_04-lts", false},
		{"/metadata/instance/compute/sku?api-version=2021-08-01&format=text", 200, "server", false},
		{"/metadata/instance/compute/version?api-version=2021-08-01&format=text", 200, "latest", false},
		{"/metadata/instance/network/interface/1?api-version=2021-08-01", 404, "", false},
		{"/metadata/instance/compute/none?api-version=2021-08-01", 404, "", false},
		{"/metadata/instance?api-version=2021-08-01", 400, "Metadata: true", true},
		{"/metadata/instance", 400, "newest-versions", false},
		{"/metadata/instance?api-version=1999-01-01", 400, "not supported", false},
		{"/metadata/attested/document?api-version=2021-08-01", 404, "", false},
		{"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=x", 404, "", false},
		{"/metadata/versions", 200, `"2021-08-01"`, false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.path, http.NoBody)
		if !c.plain {
			r.Header.Set("Metadata", "true")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
		}
	}
	gallery := guestPort()
	gallery.Machine.Image = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/x/images/y"
	for _, path := range []string{"offer", "publisher", "sku", "version"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metadata/instance/compute/"+path+"?api-version=2021-08-01&format=text", http.NoBody)
		r.Header.Set("Metadata", "true")
		w := httptest.NewRecorder()
		vnet.MetadataHandler(vnet.Source(gallery)).ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Body.Len() > 0 {
			t.Errorf("%s of a gallery's image: %d %s", path, w.Code, w.Body)
		}
	}
	// What cloud-init 22.4 and 24.1 read.
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metadata/instance?api-version=2021-08-01&extended=true", http.NoBody)
	r.Header.Set("Metadata", "true")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var doc struct {
		Compute struct {
			PublicKeys []struct{ KeyData, Path string }
			UserData   *string
			Zone       string
		}
		Extended struct{ Compute struct{ PPSType string } }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if k := doc.Compute.PublicKeys; len(k) != 1 || k[0].KeyData != "ssh-ed25519 AAAA me" || k[0].Path != "/home/azureuser/.ssh/authorized_keys" ||
		doc.Compute.UserData == nil || doc.Extended.Compute.PPSType != "None" || doc.Compute.Zone != "1" {
		t.Errorf("%s", w.Body)
	}
}

func TestWireServer(t *testing.T) {
	t.Parallel()
	var reports []string
	h := vnet.WireHandler(vnet.Source(guestPort()), func(id string, err error) { reports = append(reports, fmt.Sprint(id == idA, err)) })
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/?comp=versions", "", 200, "2012-11-30"},
		{"GET", "/machine/?comp=goalstate", "", 200, "<ContainerId>11111111-2222-3333-4444-555555555555</ContainerId>"},
		{"GET", "/machine?comp=goalstate", "", 200, "<InstanceId>_node-a</InstanceId>"},
		{"POST", "/machine?comp=health", report("Ready", "", ""), 200, ""},
		{"POST", "/machine?comp=health", report("NotReady", "ProvisioningFailed", "no &lt;disk&gt;"), 200, ""},
		{"POST", "/machine?comp=health", report("NotReady", "Provisioning", "Starting"), 200, ""},
		{"POST", "/machine?comp=health", "not XML", 400, ""},
		{"GET", "/machine?comp=certificates", "", 404, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if got := strings.Join(reports, ";"); got != "true <nil>;true no <disk>" {
		t.Errorf("reports: %s", got)
	}
}

func TestMirror(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		write("mirror/oci/blobs/sha256/"+hex.EncodeToString(sum[:]), text)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	layer := blob("a layer")
	manifest := blob(`{"schemaVersion":2,"layers":[]}`)
	write("mirror/oci/index.json", `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"`+manifest+
		`","annotations":{"io.containerd.image.name":"registry.k8s.io/coredns/coredns:v1.14.2"}}]}`)
	write("mirror/debian/dists/bookworm/Release", "Suite: stable")
	write("secret", "outside")
	if err := os.Symlink("../secret", filepath.Join(dir, "mirror/link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "mirror"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	h := vnet.MirrorHandler(root)
	for _, c := range []struct {
		reason, method, path, span string
		status                     int
		want, media                string
	}{
		{"a file", "GET", "/debian/dists/bookworm/Release", "", 200, "Suite: stable", ""},
		{"part of a file", "GET", "/debian/dists/bookworm/Release", "bytes=7-", 206, "stable", ""},
		{"no file", "GET", "/debian/none", "", 404, "", ""},
		{"a link out", "GET", "/link", "", 500, "", ""},
		{"a path out", "GET", "/../secret", "", 404, "", ""},
		{"writing", "PUT", "/debian/none", "", 405, "", ""},
		{"the API", "GET", "/v2/", "", 200, "{}", "application/json; charset=utf-8"},
		{"a tag", "GET", "/v2/coredns/coredns/manifests/v1.14.2?ns=registry.k8s.io", "", 200, `{"schemaVersion":2,"layers":[]}`, "application/vnd.oci.image.manifest.v1+json"},
		{"a tag's head", "HEAD", "/v2/coredns/coredns/manifests/v1.14.2?ns=registry.k8s.io", "", 200, "", "application/vnd.oci.image.manifest.v1+json"},
		{"a tag without registry", "GET", "/v2/coredns/coredns/manifests/v1.14.2", "", 200, "schemaVersion", ""},
		{"another registry", "GET", "/v2/coredns/coredns/manifests/v1.14.2?ns=quay.io", "", 404, "MANIFEST_UNKNOWN", ""},
		{"another tag", "GET", "/v2/coredns/coredns/manifests/v1?ns=registry.k8s.io", "", 404, "MANIFEST_UNKNOWN", ""},
		{"a digest", "GET", "/v2/coredns/coredns/manifests/" + manifest + "?ns=registry.k8s.io", "", 200, "schemaVersion", "application/vnd.oci.image.manifest.v1+json"},
		{"a layer is no manifest", "GET", "/v2/x/manifests/" + layer, "", 404, "MANIFEST_UNKNOWN", ""},
		{"a blob", "GET", "/v2/coredns/coredns/blobs/" + layer, "", 200, "a layer", "application/octet-stream"},
		{"part of a blob", "GET", "/v2/coredns/coredns/blobs/" + layer, "bytes=2-", 206, "layer", ""},
		{"no blob", "GET", "/v2/x/blobs/sha256:" + strings.Repeat("0", 64), "", 404, "BLOB_UNKNOWN", ""},
		{"a digest out", "GET", "/v2/x/blobs/sha256:..%2f..%2f..%2fsecret", "", 400, "DIGEST_INVALID", ""},
		{"a name out", "GET", "/v2/..%2f../blobs/" + layer, "", 400, "NAME_INVALID", ""},
		{"tags", "GET", "/v2/x/tags/list", "", 404, "UNSUPPORTED", ""},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, http.NoBody)
		if c.span != "" {
			r.Header.Set("Range", c.span)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || c.media != "" && w.Header().Get("Content-Type") != c.media || strings.Contains(w.Body.String(), "outside") {
			t.Errorf("%s: %d %s %s", c.reason, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
}
