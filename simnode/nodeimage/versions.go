// SPDX-License-Identifier: Apache-2.0

package nodeimage

// The versions of what the artefact holds. go.mod has the same for what is built, and the product for what it asks for.
const (
	suite             = "bookworm"
	kubernetesVersion = "1.36.3"
	kubernetesMinor   = "1.36"
	packageVersion    = kubernetesVersion + "-1.1"
	containerdVersion = "2.3.2"
	runcVersion       = "1.4.3"
	cniVersion        = "1.10.0"

	// The tags that kubeadm of this version asks for: the next two may hold another version of the program, see README.md.
	etcdTag    = "3.6.8-0"
	corednsTag = "v1.14.2"
	pauseTag   = "3.10.2"
	// cloudProviderTag is the annotation of the product's kubernetes pack of this version.
	cloudProviderTag = "v1.36.5"
	standinTag       = "v1"
)

// programs are the names that bin/kube answers to.
var programs = []string{
	"cloud-controller-manager", "cloud-node-manager", "coredns", "etcd", "hello", "kube-apiserver", "kube-controller-manager",
	"kube-proxy", "kube-scheduler", "kubeadm", "kubectl", "kubelet", "kubemark", "vxlan",
}

// ubuntuHas are packages that Ubuntu's images for Azure have and Debian's smallest does not; the bootstrap relies on them.
var ubuntuHas = []string{"ethtool", "iptables", "nftables"}

// mirrored are the packages of Debian in the mirror: what the bootstrap installs beside Kubernetes.
var mirrored = []string{"conntrack", "ebtables", "ethtool", "iptables", "nftables", "socat"}

// images are the images of the mirror and of the gallery's store.
func images() []container {
	kube := func(reference, program string) container {
		return container{reference: reference, entrypoint: []string{"/usr/local/bin/" + program}, layer: "kube"}
	}
	out := []container{
		{reference: "registry.k8s.io/pause:" + pauseTag, entrypoint: []string{"/pause"}, layer: "pause"},
		{reference: "registry.k8s.io/coredns/coredns:" + corednsTag, entrypoint: []string{"/coredns"}, layer: "kube"},
		kube("registry.k8s.io/etcd:"+etcdTag, "etcd"),
	}
	for _, p := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		out = append(out, kube("registry.k8s.io/"+p+":v"+kubernetesVersion, p))
	}
	for _, p := range []string{"cloud-node-manager", "cloud-controller-manager"} {
		out = append(out, kube("mcr.microsoft.com/oss/v2/kubernetes/azure-"+p+":"+cloudProviderTag, p))
	}
	return append(out, kube("simnode.local/vxlan:"+standinTag, "vxlan"), kube("simnode.local/hello:"+standinTag, "hello"))
}
