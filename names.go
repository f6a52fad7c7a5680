// SPDX-License-Identifier: Apache-2.0

package lazuli

import (
	"slices"
	"strings"
)

// Limits of names. Azure's own are wider; ours leave room for suffixes.
const (
	MaxNameLength     = 63 // of clusters, accounts and profiles
	MaxPoolNameLength = 31
	prefixNameLength  = 20
	prefixUIDLength   = 6
	vmPoolLength      = 12
	// SuffixLength is the number of random characters that end a machine's name.
	SuffixLength = 5
	// LabelSuffixLength is the number of hexadecimal digits that end a DNS label.
	LabelSuffixLength = 8
)

// ClusterTag is the tag that every Azure resource of a cluster carries; its
// value is the cluster's uid.
const ClusterTag = "lazuli.io-cluster"

// Fold maps a name to the form in which names are compared.
func Fold(name string) string { return strings.ToLower(name) }

// ValidName reports whether s may name a cluster: RFC 1123 label, as Azure
// resource names, DNS labels and Node names are derived from it.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxNameLength || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	}) < 0
}

// ValidPoolName reports whether s matches [a-z][a-z0-9-]{0,30} and does not
// end in a hyphen, since a VM's name is built from it.
func ValidPoolName(s string) bool {
	return len(s) <= MaxPoolNameLength && ValidName(s) && s[0] >= 'a'
}

// ResourcePrefix is what the names of all Azure resources of a cluster start
// with: at most 20 characters of the name and the end of the uid.
func ResourcePrefix(name, uid string) string {
	return cut(name, prefixNameLength) + "-" + uid[max(0, len(uid)-prefixUIDLength):]
}

// MachineName is the name of a VM, its computer and its Node: at most 45
// characters, within the 63 of a Node's host name label.
func MachineName(prefix, pool, suffix string) string {
	return prefix + "-" + cut(pool, vmPoolLength) + "-" + suffix
}

func cut(s string, n int) string { return strings.TrimRight(s[:min(n, len(s))], "-") }

// ReservedTag reports whether a tag's key is one that Azure keeps to itself:
// azure, microsoft or windows, whatever the case (Azure Resource Manager, "Use
// tags to organize your Azure resources", limitations).
func ReservedTag(key string) bool {
	return slices.Contains([]string{"azure", "microsoft", "windows"}, strings.ToLower(key))
}

// AzureTag reports whether a key can be the name of a tag of Azure. A label of a
// cluster whose key cannot, such as app.kubernetes.io/name, is the cluster's alone
// ("Use tags to organize your Azure resources", limitations).
func AzureTag(key string) bool { return !strings.ContainsAny(key, `<>%&\?/`) }
