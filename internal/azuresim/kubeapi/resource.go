// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// Group-resources that callers of the Go API name often.
var (
	Nodes           = schema.GroupResource{Resource: "nodes"}
	Namespaces      = schema.GroupResource{Resource: "namespaces"}
	Pods            = schema.GroupResource{Resource: "pods"}
	Services        = schema.GroupResource{Resource: "services"}
	Endpoints       = schema.GroupResource{Resource: "endpoints"}
	Secrets         = schema.GroupResource{Resource: "secrets"}
	ConfigMaps      = schema.GroupResource{Resource: "configmaps"}
	ServiceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
	Events          = schema.GroupResource{Resource: "events"}
	Leases          = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	DaemonSets      = schema.GroupResource{Group: "apps", Resource: "daemonsets"}
	Deployments     = schema.GroupResource{Group: "apps", Resource: "deployments"}
	ReplicaSets     = schema.GroupResource{Group: "apps", Resource: "replicasets"}
	StatefulSets    = schema.GroupResource{Group: "apps", Resource: "statefulsets"}
	Jobs            = schema.GroupResource{Group: "batch", Resource: "jobs"}
	// CustomResourceDefinitions register the resources they define.
	CustomResourceDefinitions = schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}
	podDisruptionBudgets      = schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}
)

// resource is one served resource in one version.
type resource struct {
	schema.GroupVersionResource
	kind, singular string
	shortNames     []string
	categories     []string
	namespaced     bool
	// status: there is a status subresource, and the main endpoint does not write it.
	status bool
	// scale: there is a scale subresource.
	scale bool
	// generation: metadata.generation counts changes of anything but metadata and status.
	generation bool
	// typed: client-go has a Go type, so bodies are checked and strategic merge works.
	typed bool
	// custom: defined by a CustomResourceDefinition.
	custom bool
	// columns of a CustomResourceDefinition's additionalPrinterColumns.
	columns []printerColumn
}

func (r *resource) gvk() schema.GroupVersionKind {
	return r.GroupVersion().WithKind(r.kind)
}

func (r *resource) subresources() []string {
	var out []string
	if r.scale {
		out = append(out, "scale")
	}
	if r.status {
		out = append(out, "status")
	}
	switch r.GroupResource() {
	case Pods:
		out = append(out, "eviction")
	case Namespaces:
		out = append(out, "finalize")
	case schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}:
		out = append(out, "approval")
	}
	slices.Sort(out)
	return out
}

// builtinTable lists the built-in resources: group/version plural Kind flags short-names. Flags: n namespaced, s status,
// c scale, g generation, a category "all", u no Go type in client-go, - none.
const builtinTable = `
v1 configmaps ConfigMap n cm
v1 endpoints Endpoints n ep
v1 events Event n ev
v1 limitranges LimitRange n limits
v1 namespaces Namespace s ns
v1 nodes Node s no
v1 persistentvolumeclaims PersistentVolumeClaim ns pvc
v1 persistentvolumes PersistentVolume s pv
v1 pods Pod nsga po
v1 podtemplates PodTemplate n
v1 replicationcontrollers ReplicationController nscga rc
v1 resourcequotas ResourceQuota ns quota
v1 secrets Secret n
v1 serviceaccounts ServiceAccount n sa
v1 services Service nsa svc
apps/v1 controllerrevisions ControllerRevision n
apps/v1 daemonsets DaemonSet nsga ds
apps/v1 deployments Deployment nscga deploy
apps/v1 replicasets ReplicaSet nscga rs
apps/v1 statefulsets StatefulSet nscga sts
batch/v1 cronjobs CronJob nsga cj
batch/v1 jobs Job nsga
admissionregistration.k8s.io/v1 mutatingwebhookconfigurations MutatingWebhookConfiguration g
admissionregistration.k8s.io/v1 validatingadmissionpolicies ValidatingAdmissionPolicy sg
admissionregistration.k8s.io/v1 validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding -
admissionregistration.k8s.io/v1 validatingwebhookconfigurations ValidatingWebhookConfiguration g
apiextensions.k8s.io/v1 customresourcedefinitions CustomResourceDefinition sgu crd,crds
apiregistration.k8s.io/v1 apiservices APIService su
autoscaling/v2 horizontalpodautoscalers HorizontalPodAutoscaler nsa hpa
certificates.k8s.io/v1 certificatesigningrequests CertificateSigningRequest s csr
coordination.k8s.io/v1 leases Lease n
discovery.k8s.io/v1 endpointslices EndpointSlice ng
networking.k8s.io/v1 ingressclasses IngressClass g
networking.k8s.io/v1 ingresses Ingress nsg ing
networking.k8s.io/v1 networkpolicies NetworkPolicy ng netpol
node.k8s.io/v1 runtimeclasses RuntimeClass -
policy/v1 poddisruptionbudgets PodDisruptionBudget nsg pdb
rbac.authorization.k8s.io/v1 clusterrolebindings ClusterRoleBinding -
rbac.authorization.k8s.io/v1 clusterroles ClusterRole -
rbac.authorization.k8s.io/v1 rolebindings RoleBinding n
rbac.authorization.k8s.io/v1 roles Role n
scheduling.k8s.io/v1 priorityclasses PriorityClass g pc
storage.k8s.io/v1 csidrivers CSIDriver g
storage.k8s.io/v1 csinodes CSINode -
storage.k8s.io/v1 csistoragecapacities CSIStorageCapacity n
storage.k8s.io/v1 storageclasses StorageClass - sc
storage.k8s.io/v1 volumeattachments VolumeAttachment s
`

// registry knows the resources a server serves. It is guarded by the store's lock.
type registry struct {
	byGVR map[schema.GroupVersionResource]*resource
	// preferred version of a group-resource, the one objects are stored in.
	preferred map[schema.GroupResource]*resource
}

func newRegistry() *registry {
	reg := &registry{
		byGVR:     map[schema.GroupVersionResource]*resource{},
		preferred: map[schema.GroupResource]*resource{},
	}
	for line := range strings.Lines(strings.TrimSpace(builtinTable)) {
		reg.add(parseResource(strings.Fields(line)))
	}
	return reg
}

// parseResource reads one row of builtinTable.
func parseResource(f []string) *resource {
	gv := schema.GroupVersion{Version: f[0]}
	if group, version, ok := strings.Cut(f[0], "/"); ok {
		gv = schema.GroupVersion{Group: group, Version: version}
	}
	has := func(flag string) bool { return strings.Contains(f[3], flag) }
	r := &resource{
		GroupVersionResource: gv.WithResource(f[1]),
		kind:                 f[2],
		singular:             strings.ToLower(f[2]),
		namespaced:           has("n"),
		status:               has("s"),
		scale:                has("c"),
		generation:           has("g"),
		typed:                !has("u") && scheme.Scheme.Recognizes(gv.WithKind(f[2])),
	}
	if has("a") {
		r.categories = []string{"all"}
	}
	if len(f) > 4 {
		r.shortNames = strings.Split(f[4], ",")
	}
	return r
}

// add registers a resource. The first version of a group-resource stays its storage version.
func (reg *registry) add(r *resource) {
	reg.byGVR[r.GroupVersionResource] = r
	if _, ok := reg.preferred[r.GroupResource()]; !ok {
		reg.preferred[r.GroupResource()] = r
	}
}

// remove forgets every version of a group-resource.
func (reg *registry) remove(gr schema.GroupResource) {
	delete(reg.preferred, gr)
	for gvr := range reg.byGVR {
		if gvr.GroupResource() == gr {
			delete(reg.byGVR, gvr)
		}
	}
}

// sorted returns all resources in the order group, version, plural.
func (reg *registry) sorted() []*resource {
	out := make([]*resource, 0, len(reg.byGVR))
	for _, r := range reg.byGVR {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *resource) int {
		return cmp.Or(
			cmp.Compare(a.Group, b.Group),
			cmp.Compare(a.Version, b.Version),
			cmp.Compare(a.Resource, b.Resource),
		)
	})
	return out
}
