// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// Bounds of a cluster.
const (
	maxPools    = 50
	maxPoolSize = 1000 // machines; Kubernetes ends at 5000 nodes
	minDiskGB   = 30   // Azure's stock Ubuntu image
	maxDiskGB   = 4095 // an OS disk of Azure ("Azure managed disks", OS disk)
	maxTags     = 40   // of Azure's 50 for a resource; the rest is for ours and the cloud controller's
	maxTagKey   = 512  // characters ("Use tags to organize your Azure resources")
	maxTagValue = 256
	maxRanges   = 200  // that may reach the API server; a rule of Azure takes 4000
	minRSABits  = 2048 // Azure takes no shorter key
	minSubnet   = 29   // bits; Azure's smallest subnet
)

var (
	groupPattern  = regexp.MustCompile(`^[A-Za-z0-9_().-]{0,89}[A-Za-z0-9_()-]$`)
	regionPattern = regexp.MustCompile(`^[a-z0-9]{2,50}$`)
	zonePattern   = regexp.MustCompile(`^[1-9]$`)
	sizePattern   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{2,79}$`)
)

// osDiskTypes are the types that an OS disk can have; those of a region come
// from the Prober.
var osDiskTypes = []string{"Standard_LRS", "StandardSSD_LRS", "StandardSSD_ZRS", "Premium_LRS", "Premium_ZRS"}

// findings are what is wrong with a request, and what has no effect in it.
type findings struct {
	faults   lazuli.Fields
	warnings lazuli.Fields
}

// fault records an error at a path.
func (f *findings) fault(path, format string, args ...any) { f.faults.Add(path, format, args...) }

// notServed refuses a part of a request that would change what a cluster is.
func (f *findings) notServed(given bool, path, what string) {
	if given {
		f.faults.Add(path, "%s not served yet; leave it out", what)
	}
}

// checkCluster checks a create request as far as it can be without asking
// anybody.
func checkCluster(f *findings, in *palette.AzureClusterEntity) {
	if in.Metadata == nil {
		f.fault("metadata", "is required")
	} else {
		if !lazuli.ValidName(in.Metadata.Name) {
			f.fault("metadata.name", "%q is not 1 to %d lower-case letters, digits and hyphens, with a letter or digit first and last",
				shorten(in.Metadata.Name), lazuli.MaxNameLength)
		}
		checkClusterLabels(f, in.Metadata.Labels)
		labelEffects(f, in.Metadata.Labels)
		annotations(&f.faults, in.Metadata)
	}
	if in.Spec == nil {
		f.fault("spec", "is required")
		return
	}
	s := in.Spec
	if s.CloudAccountUID == "" {
		f.fault("spec.cloudAccountUid", "is required")
	}
	if s.CloudConfig == nil {
		f.fault("spec.cloudConfig", "is required")
	} else {
		checkCloudConfig(f, s.CloudConfig)
	}
	checkPools(f, s)
	checkClusterConfig(f, s.ClusterConfig)
	if p := s.Policies; p != nil {
		checkPolicy(f, "spec.policies.backupPolicy.", palette.MemberBackup, p.BackupPolicy)
		checkPolicy(f, "spec.policies.scanPolicy.", palette.MemberScan, p.ScanPolicy)
	}
	checkEffects(f, s)
	if len(s.Profiles) == 0 {
		f.fault("spec.profiles", "needs a profile of type infra or cluster")
	}
}

// given reports whether a raw member says anything.
func given(raw []byte) bool {
	switch strings.TrimSpace(string(raw)) {
	case "", "null", "{}", "[]":
		return false
	default:
		return true
	}
}

func checkCloudConfig(f *findings, c *palette.AzureClusterConfig) {
	const path = "spec.cloudConfig."
	if !guidPattern.MatchString(c.SubscriptionID) {
		f.fault(path+"subscriptionId", "%q is not a subscription's id, a GUID", shorten(c.SubscriptionID))
	}
	if !groupPattern.MatchString(c.ResourceGroup) {
		f.fault(path+"resourceGroup", "%q cannot be the name of a resource group", shorten(c.ResourceGroup))
	}
	if !regionPattern.MatchString(c.Location) {
		f.fault(path+"location", "%q is not a region's name, such as westeurope", shorten(c.Location))
	}
	if err := checkSSHKey(c.SSHKey); err != nil {
		f.fault(path+"sshKey", "%v", err)
	}
	checkStatic(f, c)
	checkPrivate(f, c)
	f.notServed(given(c.AADProfile), path+"aadProfile", "sign-in with Entra ID is")
	checkNetwork(f, c)
}

// namedSubnet is a subnet with its member's name.
type namedSubnet struct {
	name   string
	subnet *palette.Subnet
}

func subnets(c *palette.AzureClusterConfig) []namedSubnet {
	return []namedSubnet{{"controlPlaneSubnet", c.ControlPlaneSubnet}, {"workerSubnet", c.WorkerSubnet}}
}

// checkRanges checks who may reach the API server.
func checkRanges(f *findings, path string, p *palette.APIServerAccessProfile) {
	if p == nil {
		return
	}
	path += "apiServerAccessProfile.authorizedIPRanges"
	if len(p.AuthorizedIPRanges) > maxRanges {
		f.fault(path, "has more than %d entries", maxRanges)
		return
	}
	for i, cidr := range p.AuthorizedIPRanges {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			f.fault(fmt.Sprintf("%s[%d]", path, i), "%q is not a range such as 203.0.113.0/24", shorten(cidr))
		}
	}
}

// azureRanges cannot be in a virtual network ("Azure Virtual Network frequently
// asked questions", address ranges).
var azureRanges = []netip.Prefix{
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("168.63.129.16/32"),
}

// checkNetwork checks the address ranges of the network that we make.
func checkNetwork(f *findings, c *palette.AzureClusterConfig) {
	const path = "spec.cloudConfig."
	vnet, hasVNet := parseRange(f, path+"vnetCidrBlock", c.VNetCIDRBlock)
	var before netip.Prefix
	for _, s := range subnets(c) {
		if s.subnet == nil || s.subnet.CIDRBlock == "" {
			continue
		}
		at := path + s.name + ".cidrBlock"
		r, ok := parseRange(f, at, s.subnet.CIDRBlock)
		switch {
		case !ok:
		case !hasVNet:
			if c.VNetCIDRBlock == "" {
				f.fault(path+"vnetCidrBlock", "is required when a subnet's range is given")
			}
		case !vnet.Contains(r.Addr()) || r.Bits() < vnet.Bits():
			f.fault(at, "%s is not inside the network's range %s", r, vnet)
		case r.Bits() > minSubnet:
			f.fault(at, "%s is smaller than a /%d, Azure's smallest subnet", r, minSubnet)
		case before.IsValid() && before.Overlaps(r):
			f.fault(at, "%s overlaps the other subnet's range %s", r, before)
		}
		if ok {
			before = r
		}
	}
}

// parseRange reads an IPv4 range that a virtual network can have.
func parseRange(f *findings, path, cidr string) (netip.Prefix, bool) {
	if cidr == "" {
		return netip.Prefix{}, false
	}
	r, err := netip.ParsePrefix(cidr)
	switch {
	case err != nil || !r.Addr().Is4():
		f.fault(path, "%q is not an IPv4 range such as 10.0.0.0/16", shorten(cidr))
		return r, false
	case r.Masked() != r:
		f.fault(path, "%s has bits behind its prefix; %s is meant", r, r.Masked())
		return r, false
	case r.Bits() < 8: // Azure's largest network, a /8
		f.fault(path, "%s is larger than a /8", r)
		return r, false
	}
	for _, no := range azureRanges {
		if no.Overlaps(r) {
			f.fault(path, "%s overlaps %s, which cannot be in a virtual network", r, no)
			return r, false
		}
	}
	return r, true
}

// checkSSHKey wants one public key of a kind that Azure takes.
func checkSSHKey(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("is required: a public key such as the content of id_ed25519.pub")
	}
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(s))
	switch {
	case err != nil:
		return errors.New("is not a public key of the form of id_ed25519.pub")
	case len(options) > 0:
		return fmt.Errorf("carries options (%s), which Azure does not take", shorten(strings.Join(options, ",")))
	case strings.TrimSpace(string(rest)) != "":
		return errors.New("is more than one key")
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	case ssh.KeyAlgoRSA:
		c, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return nil
		}
		if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < minRSABits {
			return fmt.Errorf("is an RSA key of %d bits; Azure wants at least %d", k.N.BitLen(), minRSABits)
		}
		return nil
	default:
		return fmt.Errorf("is of kind %s; ssh-rsa, ssh-ed25519 and ecdsa are taken", shorten(key.Type()))
	}
}

func checkClusterConfig(f *findings, c *palette.ClusterConfigEntity) {
	if c == nil {
		return
	}
	const path = "spec.clusterConfig."
	checkLocation(f, path+"location", c.Location)
	if c.ControlPlaneHealthCheckTimeout != "" {
		checkDuration(f, path+"controlPlaneHealthCheckTimeout", c.ControlPlaneHealthCheckTimeout)
	}
	checkTimezone(f, path+"timezone", c.Timezone)
	if m := c.MachineManagementConfig; m != nil && m.OSPatchConfig != nil {
		checkSchedule(f, path+"machineManagementConfig.osPatchConfig.schedule", m.OSPatchConfig.Schedule)
	}
	if r := c.Resources; r != nil {
		checkNamespaces(f, path+"resources.namespaces", r.Namespaces)
		checkRBACs(f, path+"resources.rbacs", r.RBACs)
	}
}

// checkClusterLabels checks a cluster's labels as the tags that they become. Those
// that cannot be tags by their name are labels of the cluster alone.
func checkClusterLabels(f *findings, labels map[string]string) {
	const path = "metadata.labels"
	tags := palette.Tags(labels)
	for _, k := range sortedKeys(tags) {
		if lazuli.AzureTag(k) || strings.HasPrefix(lazuli.Fold(k), tagNamespace) {
			continue
		}
		checkTag(f, path+"."+shorten(k), k, tags[k])
		delete(tags, k)
	}
	if len(labels) > maxLabels {
		f.fault(path, "has more than %d entries", maxLabels)
	}
	checkTags(f, path, tags)
}

// checkTags checks tags as Azure takes them on every resource.
func checkTags(f *findings, path string, tags map[string]string) {
	if len(tags) > maxTags {
		f.fault(path, "has %d tags; %d fit beside ours on an Azure resource", len(tags), maxTags)
		return
	}
	folded := map[string]string{}
	for _, k := range sortedKeys(tags) {
		at := path + "." + shorten(k)
		if !lazuli.AzureTag(k) {
			f.fault(at, `a tag's name has none of < > %% & \ ? /`)
		} else {
			checkTag(f, at, k, tags[k])
		}
		if other, twice := folded[lazuli.Fold(k)]; twice {
			f.fault(at, "is the same tag as %q: Azure does not tell case", other)
		}
		folded[lazuli.Fold(k)] = k
	}
}

func checkTag(f *findings, at, key, value string) {
	switch {
	case key == "" || len([]rune(key)) > maxTagKey:
		f.fault(at, "a tag's name has 1 to %d characters", maxTagKey)
	case strings.IndexFunc(key, isControl) >= 0:
		f.fault(at, "a tag's name has no control character")
	case lazuli.ReservedTag(key):
		f.fault(at, "Azure keeps the tags azure, microsoft and windows to itself; choose another name")
	case strings.HasPrefix(lazuli.Fold(key), tagNamespace):
		f.fault(at, "tags that start with %s are the hub's own", tagNamespace)
	case len([]rune(value)) > maxTagValue || strings.IndexFunc(value, isControl) >= 0:
		f.fault(at, "a tag's value has at most %d characters and no control character", maxTagValue)
	}
}

// tagNamespace starts the names of our own tags.
const tagNamespace = "lazuli.io"

func isControl(r rune) bool { return r < ' ' || r == 0x7f } // DEL

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
