// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
)

// ImageKind is where a machine's image comes from.
type ImageKind string

// The kinds of image source.
const (
	ImageMarketplace ImageKind = "marketplace" // stock Ubuntu; the boot installs Kubernetes
	ImageGallery     ImageKind = "gallery"     // the user's own compute gallery
	ImageCommunity   ImageKind = "community"   // a community gallery, by default Cluster API's
)

// Image is the choice of the machines' image.
type Image struct {
	Kind ImageKind
	// Of the marketplace. The SKU follows the size's generation and architecture;
	// an empty one means that the release has none.
	Publisher, Offer, SKUGen1, SKUGen2, SKUArm64, Version string
	// ID is the ARM id of a gallery image or of one of its versions.
	ID string
	// CommunityID is of the form /CommunityGalleries/G/Images/I/Versions/V.
	CommunityID string
	// Preinstalled says that containerd, kubelet, kubeadm and kubectl of the
	// wanted version are in the image.
	Preinstalled bool
}

// Mirror redirects what a boot downloads; empty means upstream. The fields are
// those of internal/bootstrap's Mirror.
type Mirror struct {
	UbuntuArchive, AptKubernetes, Binaries, Registry string
}

// Settings is what a deployment needs of the values of a profile's layers.
type Settings struct {
	KubernetesVersion string // such as 1.36.3
	PodCIDR           string
	ServiceCIDR       string
	DNSDomain         string
	APIServerSANs     []string
	Image             Image
	SSHUser           string
	Mirror            Mirror
	// AllocateNodeCIDRs has the controller manager hand each Node a piece of PodCIDR.
	AllocateNodeCIDRs bool
	// ProxyMode is kube-proxy's: iptables, nftables or none.
	ProxyMode string
	// Notices are not errors: keys without an effect, pairs that the maker did not test.
	Notices Findings
}

var (
	galleryPattern = regexp.MustCompile(`(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Compute/` +
		`(galleries/[^/]+/images/[^/]+(/versions/[^/]+)?|images/[^/]+)$`)
	dnsDomainPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// Ranges of the network, in bits of the prefix. Kubernetes takes no Service range
// larger than /12 (kube-apiserver, --service-cluster-ip-range); a pod range
// smaller than /24 has no room for one node.
const (
	maxPodBits     = 24
	minServiceBits = 12
	maxServiceBits = 28
)

// Settings reads what a deployment needs of the layers. The error is a
// *lazuli.Error of lazuli.CodeInvalidField, whose paths start with
// spec.template.packs[i].values and end in the key.
//
// What it returns is shared and must not be changed.
func (r *Registry) Settings(layers []lazuli.Layer) (Settings, error) {
	return r.settings.of(func() (Settings, error) { return r.readSettings(layers) }, layers)
}

func (r *Registry) readSettings(layers []lazuli.Layer) (Settings, error) {
	s := Settings{ProxyMode: "nftables"}
	var found Findings
	for i, l := range layers {
		path := packPath(i)
		if t := layerType(l); t == TypeHelm || t == TypeOCI {
			s.Notices = append(s.Notices, FieldError{path + ".type", CodeChartIgnored,
				fmt.Sprintf("pack %q is of type %s: it is stored, and its chart is not installed by this release", l.Name, t)})
		}
		if layerType(l) != TypeSpectro {
			continue
		}
		b, err := r.find(l.Name, l.Tag, l.PackUID)
		if err != nil {
			found = append(found, r.unknown(path, l, err))
			continue
		}
		values, err := b.values(l)
		if err != nil {
			found = append(found, FieldError{path + ".values", CodeValuesInvalid, err.Error()})
			continue
		}
		rd := &reader{path: path + ".values", values: values}
		b.read(rd, &s)
		found = append(found, rd.found...)
		s.Notices = append(s.Notices, b.ignored(l, path)...)
	}
	found = append(found, s.check()...)
	s.Notices = append(s.Notices, r.untested(layers, s.KubernetesVersion)...)
	if err := found.Err(); err != nil {
		return Settings{}, err
	}
	return s, nil
}

// read takes the settings of one pack.
func (b bundle) read(rd *reader, s *Settings) {
	if b.Layer == LayerCNI {
		s.AllocateNodeCIDRs = b.Annotations[annotationNodeCIDRs] == "true"
	}
	switch b.Name {
	case packKubernetes:
		s.KubernetesVersion = b.Version
		s.PodCIDR = rd.prefix("pack.podCIDR", 0, maxPodBits)
		s.ServiceCIDR = rd.prefix("pack.serviceClusterIpRange", minServiceBits, maxServiceBits)
		s.DNSDomain = rd.matching("pack.serviceDomain", dnsDomainPattern, "a DNS name such as cluster.local")
		s.APIServerSANs = rd.strings("kubeadmconfig.apiServer.certSANs")
	case packUbuntu:
		s.Image = b.image(rd)
		s.SSHUser = b.Annotations[annotationSSHUser]
		s.Mirror = Mirror{
			UbuntuArchive: rd.url("mirror.ubuntuArchive"), AptKubernetes: rd.url("mirror.kubernetesPackages"),
			Binaries: rd.url("mirror.binaries"), Registry: rd.url("mirror.imageRegistry"),
		}
	case packCalico:
		s.ProxyMode = rd.oneOf("calico.kubeProxyMode", "iptables", "nftables")
		rd.integer("calico.mtu", 1280, 8950) // IPv6's least MTU, Azure's largest less VXLAN's header
	}
}

func (b bundle) image(rd *reader) Image {
	img := Image{Kind: ImageKind(rd.oneOf("image.source",
		string(ImageMarketplace), string(ImageGallery), string(ImageCommunity)))}
	switch img.Kind {
	case ImageMarketplace:
		img.Publisher = rd.stringOr("image.marketplace.publisher", b.Annotations[annotationPublisher])
		img.Offer = rd.stringOr("image.marketplace.offer", b.Annotations[annotationOffer])
		img.SKUGen2 = rd.stringOr("image.marketplace.sku", b.Annotations[annotationSKU])
		img.SKUGen1 = rd.stringOr("image.marketplace.skuGen1", b.Annotations[annotationSKUGen1])
		img.SKUArm64 = rd.stringOr("image.marketplace.skuArm64", b.Annotations[annotationSKUArm64])
		img.Version = rd.stringOr("image.marketplace.version", "latest")
	case ImageGallery:
		img.ID = rd.matching("image.gallery.id", galleryPattern,
			"the ARM id of a gallery image, of one of its versions, or of a managed image")
		img.Preinstalled = rd.boolean("image.gallery.preinstalled")
	case ImageCommunity:
		gallery, name := rd.string("image.community.gallery"), rd.string("image.community.image")
		version := rd.string("image.community.version") // "" is the Kubernetes version, put in by check
		img.CommunityID = "/CommunityGalleries/" + gallery + "/Images/" + name + "/Versions/" + version
		img.Preinstalled = true
		for _, part := range []string{gallery, name, version} {
			if strings.ContainsAny(part, "/?#% ") {
				rd.add("image.community", "%q cannot be part of an image's id", part)
			}
		}
	}
	return img
}

// check is what no single pack can say.
func (s *Settings) check() Findings {
	var found Findings
	if strings.HasSuffix(s.Image.CommunityID, "/Versions/") {
		s.Image.CommunityID += s.KubernetesVersion // the gallery names its versions so
	}
	pods, errP := netip.ParsePrefix(s.PodCIDR)
	services, errS := netip.ParsePrefix(s.ServiceCIDR)
	if errP == nil && errS == nil && pods.Overlaps(services) {
		found = append(found, FieldError{"spec.template.packs", CodeValuesInvalid,
			fmt.Sprintf("pack.podCIDR %s and pack.serviceClusterIpRange %s overlap", pods, services)})
	}
	return found
}

// ignored are the keys of a layer's values that its pack does not know.
func (b bundle) ignored(l lazuli.Layer, path string) Findings {
	known, errKnown := parseValues(b.Values)
	given, errGiven := parseValues(l.Values)
	if errKnown != nil || errGiven != nil {
		return nil // reported already
	}
	var found Findings
	for _, key := range unknownKeys(known, given, "") {
		found = append(found, FieldError{path + ".values." + key, CodeValueIgnored,
			fmt.Sprintf("%s %s does not know the key %s: it has no effect", b.Name, b.Version, key)})
	}
	return found
}

// untested are packs whose maker did not test them with the Kubernetes version.
func (r *Registry) untested(layers []lazuli.Layer, kubernetes string) Findings {
	var found Findings
	for i, l := range layers {
		b, err := r.find(l.Name, l.Tag, l.PackUID)
		if err != nil || layerType(l) != TypeSpectro {
			continue
		}
		tested := b.Annotations[annotationMinorTested]
		if tested == "" || kubernetes == "" || slices.Contains(strings.Split(tested, ","), minor(kubernetes)) {
			continue
		}
		found = append(found, FieldError{packPath(i) + ".tag", CodeVersionUntested,
			fmt.Sprintf("the maker of %s %s tested it with Kubernetes %s, not with %s",
				b.Name, b.Version, strings.ReplaceAll(tested, ",", ", "), minor(kubernetes))})
	}
	return found
}

func packPath(i int) string { return fmt.Sprintf("spec.template.packs[%d]", i) }
