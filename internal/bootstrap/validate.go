// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxPort = 65535
	// An API server takes at most 20 bits of service addresses.
	minServiceBits, maxServiceBits = 12, 29
	minPodBits, maxPodBits         = 8, 24
	minTokenTTL, maxTokenTTL       = 5 * time.Minute, 24 * time.Hour
	maxLUN                         = 63
)

var (
	versionPattern  = regexp.MustCompile(`^1\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$`)
	providerPattern = regexp.MustCompile(`^[a-z][a-z0-9-]*://[^\s,"'\\` + "`" + `$<>|;&*?!#{}]+$`)
	modePattern     = regexp.MustCompile(`^0?[0-7]{3}$`)
	regionPattern   = regexp.MustCompile(`^[a-z0-9]{1,40}$`)
	mirrorPath      = regexp.MustCompile(`^[A-Za-z0-9/_.~-]*$`)
)

func ownFolders() []string {
	return []string{pkiFolder, configFolder, programFolder, stateFolder}
}

// reserved is what pods and Services can never have: this host, links,
// multicast, and Azure's wire server.
func reserved() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
		netip.MustParsePrefix("168.63.129.16/32"),
	}
}

func taintEffects() []string { return []string{"NoSchedule", "PreferNoSchedule", "NoExecute"} }

// findings collects what is wrong, each with the field's name.
type findings []error

func (f *findings) add(field, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
}

func (f *findings) require(ok bool, field, format string, args ...any) {
	if !ok {
		f.add(field, format, args...)
	}
}

// Validate reports every field that cannot become a cluster, joined into one
// error, each line starting with the field's name. Empty fields with a default
// are good.
func (c Cluster) Validate() error {
	c = c.withDefaults()
	var f findings
	f.require(validDNSLabel(c.Name), "cluster.name", "%q is not an RFC 1123 label", c.Name)
	f.require(c.UID == "" || validLabelValue(c.UID), "cluster.uid", "%q is not a label value", c.UID)
	if _, err := release(c.KubernetesVersion); err != nil {
		f.add("cluster.kubernetesVersion", "%s", err)
	}
	_, addrErr := netip.ParseAddr(c.Endpoint)
	f.require(addrErr != nil && validDNSName(c.Endpoint), "cluster.endpoint", "%q is not a DNS name", c.Endpoint)
	f.require(c.Port > 0 && c.Port <= maxPort, "cluster.port", "%d is not a port", c.Port)
	f.require(validDNSName(c.DNSDomain), "cluster.dnsDomain", "%q is not a DNS name", c.DNSDomain)
	f.require(c.Location == "" || regionPattern.MatchString(c.Location), "cluster.location", "%q is not a region", c.Location)
	for i, san := range c.APIServerSANs {
		_, err := netip.ParseAddr(san)
		f.require(err == nil || validDNSName(san), fmt.Sprintf("cluster.apiServerSANs[%d]", i), "%q is neither name nor address", san)
	}
	f.require(slices.Contains([]ProxyMode{ProxyNFTables, ProxyIPTables, ProxyNone}, c.Proxy), "cluster.proxy", "unknown mode %q", c.Proxy)
	f.require(c.Image == Gallery || c.Image == Stock, "cluster.image", "unknown kind %q", c.Image)
	f.require(c.TokenTTL >= minTokenTTL && c.TokenTTL <= maxTokenTTL, "cluster.tokenTTL",
		"%s is not within [%s, %s]", c.TokenTTL, minTokenTTL, maxTokenTTL)
	c.validateNetworks(&f)
	c.Mirror.validate(&f)
	return errors.Join(f...)
}

func (c Cluster) validateNetworks(f *findings) {
	pods, podsOK := checkCIDR(f, "cluster.podCIDR", c.PodCIDR, minPodBits, maxPodBits)
	services, servicesOK := checkCIDR(f, "cluster.serviceCIDR", c.ServiceCIDR, minServiceBits, maxServiceBits)
	if podsOK && servicesOK && pods.Overlaps(services) {
		f.add("cluster.serviceCIDR", "%s overlaps podCIDR %s", services, pods)
	}
}

func checkCIDR(f *findings, field, value string, minBits, maxBits int) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(value)
	if err != nil || !p.Addr().Is4() {
		f.add(field, "%q is not an IPv4 CIDR", value)
		return p, false
	}
	before := len(*f)
	f.require(p == p.Masked(), field, "%s has host bits, %s has none", p, p.Masked())
	f.require(p.Bits() >= minBits && p.Bits() <= maxBits, field, "prefix length %d is not within [%d, %d]", p.Bits(), minBits, maxBits)
	for _, r := range reserved() {
		f.require(!p.Overlaps(r), field, "%s overlaps the reserved %s", p, r)
	}
	return p, len(*f) == before
}

func (m Mirror) validate(f *findings) {
	for _, u := range []struct{ field, value string }{
		{"ubuntuArchive", m.UbuntuArchive}, {"aptKubernetes", m.AptKubernetes},
		{"binaries", m.Binaries}, {"registry", m.Registry},
	} {
		if u.value != "" {
			f.require(validBaseURL(u.value), "cluster.mirror."+u.field,
				"not a plain http or https URL without credentials, query and trailing slash")
		}
	}
}

func validBaseURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || strings.HasSuffix(s, "/") {
		return false
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > maxPort {
			return false
		}
	}
	_, err = netip.ParseAddr(u.Hostname())
	return (err == nil || validDNSName(u.Hostname())) && mirrorPath.MatchString(u.EscapedPath()) &&
		s == u.Scheme+"://"+u.Host+u.EscapedPath()
}

// validate reports what is wrong with a machine of cluster c.
func (n Node) validate(c Cluster) error {
	var f findings
	f.require(validDNSLabel(n.Name), "node.name", "%q is not an RFC 1123 label", n.Name)
	switch n.Role {
	case Init:
	case ControlPlane, Worker:
		if err := n.Token.Validate(); err != nil {
			f.add("node.token", "%s", err)
		}
	default:
		f.add("node.role", "unknown role %q", n.Role)
	}
	id := n.providerID(c)
	f.require(providerPattern.MatchString(id) && printable(id) && !strings.Contains(id, "///subscriptions//"),
		"node.providerID", "%q is not a provider id", id)
	for _, k := range slices.Sorted(maps.Keys(n.Labels)) {
		f.require(validLabelKey(k), "node.labels", "%q is not a label key", k)
		f.require(validLabelValue(n.Labels[k]), "node.labels", "%q of %q is not a label value", n.Labels[k], k)
	}
	for i, t := range n.Taints {
		field := fmt.Sprintf("node.taints[%d]", i)
		f.require(validLabelKey(t.Key), field+".key", "%q is not a taint key", t.Key)
		f.require(validLabelValue(t.Value), field+".value", "%q is not a taint value", t.Value)
		f.require(slices.Contains(taintEffects(), t.Effect), field+".effect", "%q is none of %v", t.Effect, taintEffects())
	}
	f.require(n.EtcdDiskLUN >= NoEtcdDisk && n.EtcdDiskLUN <= maxLUN, "node.etcdDiskLUN", "%d is not a LUN", n.EtcdDiskLUN)
	n.validateFiles(&f)
	return errors.Join(f...)
}

func (n Node) validateFiles(f *findings) {
	for i, file := range n.Files {
		field := fmt.Sprintf("node.files[%d]", i)
		own := slices.ContainsFunc(ownFolders(), func(d string) bool {
			return file.Path == d || strings.HasPrefix(file.Path, d+"/")
		})
		f.require(path.IsAbs(file.Path) && path.Clean(file.Path) == file.Path && printable(file.Path) && !own,
			field+".path", "%q is not a clean absolute path outside our folders", file.Path)
		f.require(utf8.ValidString(file.Content), field+".content", "is not UTF-8")
		f.require(file.Mode == "" || modePattern.MatchString(file.Mode), field+".mode", "%q is not an octal mode", file.Mode)
	}
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError })
}
