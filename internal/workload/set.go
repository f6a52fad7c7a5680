// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const (
	// Namespace holds the hub's own objects in a cluster.
	Namespace = "lazuli-system"
	// SetLabel names on every applied object the set that it belongs to.
	SetLabel = "lazuli.io/set"
	// KeepAnnotation with the value "true" keeps an object that its set no longer has.
	KeepAnnotation = "lazuli.io/keep"

	defaultNamespace = "default"
	kindNamespace    = "Namespace"
	kindDefinition   = "CustomResourceDefinition"
	groupDefinitions = "apiextensions.k8s.io"
)

var setName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,50}[a-z0-9])?$`)

// Set is a group of manifests that come and go together.
type Set struct {
	Name         string // lower-case letters, digits, '-' and '.', at most 52 characters; unique in the cluster
	FieldManager string // "" is FieldManager
	Documents    []byte // any number of YAML or JSON documents; lists are taken apart
	// Prune deletes what an earlier Apply of the set brought in and Documents no
	// longer has. No documents at all then take the whole set out.
	Prune bool
}

// Ref names an object.
type Ref struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"` // "" for kinds without one
	Name       string `json:"name"`
}

// String renders r as "Kind namespace/name".
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

func (r Ref) gvk() schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(r.APIVersion, r.Kind)
}

// same identifies an object over versions of its API.
func (r Ref) same() Ref {
	r.APIVersion = r.gvk().Group
	return r
}

// object is a manifest on its way into a cluster.
type object struct {
	ref Ref
	u   *unstructured.Unstructured
}

// parse reads the documents of a set. Namespaces are as written: whether a
// kind has one is for the API server to tell.
func (s Set) parse() ([]object, error) {
	if !setName.MatchString(s.Name) {
		return nil, fmt.Errorf("set name %q is not of lower-case letters, digits, '-' and '.', or longer than 52", s.Name)
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(s.Documents)))
	var all []object
	for n := 1; ; n++ {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read document %d of set %s: %w", n, s.Name, err)
		}
		var content map[string]any
		if err := yaml.Unmarshal(text, &content); err != nil {
			// The decoder's error may quote the document, which may be a Secret.
			return nil, fmt.Errorf("document %d of set %s is not an object in YAML", n, s.Name)
		}
		if len(content) == 0 {
			continue
		}
		objects, err := flatten(&unstructured.Unstructured{Object: content})
		if err != nil {
			return nil, fmt.Errorf("document %d of set %s: %w", n, s.Name, err)
		}
		all = append(all, objects...)
	}
	seen := map[Ref]bool{}
	for _, o := range all {
		if seen[o.ref.same()] {
			return nil, fmt.Errorf("set %s has %s twice", s.Name, o.ref)
		}
		seen[o.ref.same()] = true
	}
	slices.SortStableFunc(all, func(a, b object) int { return cmp.Compare(rank(a.ref), rank(b.ref)) })
	return all, nil
}

// maxKnown bounds the sets whose objects are kept in mind.
const maxKnown = 1024

// known keeps what sets name, since the same sets are looked at again and again
// and reading YAML is most of the work. It keeps names alone, by a hash of the
// documents: these may hold secrets. It is safe for concurrent use.
type known struct {
	mu    sync.Mutex
	bySum map[[sha256.Size]byte][]Ref
}

// refs names the objects of a set in the order in which they are applied. The
// result is shared.
func (k *known) refs(s Set) ([]Ref, error) {
	sum := sha256.Sum256(append([]byte(s.Name+"\n"), s.Documents...))
	k.mu.Lock()
	refs, ok := k.bySum[sum]
	k.mu.Unlock()
	if ok {
		return refs, nil
	}
	objects, err := s.parse()
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		refs = append(refs, o.ref)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bySum == nil || len(k.bySum) >= maxKnown {
		k.bySum = map[[sha256.Size]byte][]Ref{}
	}
	k.bySum[sum] = refs
	return refs, nil
}

func flatten(u *unstructured.Unstructured) ([]object, error) {
	if u.IsList() {
		var all []object
		err := u.EachListItem(func(item runtime.Object) error {
			inner, ok := item.(*unstructured.Unstructured)
			if !ok {
				return errors.New("a list holds something that is not an object")
			}
			objects, err := flatten(inner)
			all = append(all, objects...)
			return err
		})
		return all, err
	}
	r := Ref{APIVersion: u.GetAPIVersion(), Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
	switch {
	case r.APIVersion == "" || r.Kind == "":
		return nil, errors.New("apiVersion or kind is missing")
	case r.Name == "":
		return nil, fmt.Errorf("%s without metadata.name", r.Kind)
	}
	// What only the server writes; an apply with some of it would be refused.
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	delete(u.Object, "status")
	return []object{{ref: r, u: u}}, nil
}

// The ranks in which kinds are applied; they are pruned the other way round.
const (
	rankNamespace = iota
	rankDefinition
	rankClass
	rankAccount
	rankRight
	rankConfig
	rankStorage
	rankService
	rankWorkload
	rankRest
	rankHook
)

// rank orders kinds so that an object comes after what it refers to. The
// rest, custom resources among them, come after the workloads that serve them;
// webhooks come last, since they can hold up everything else.
func rank(r Ref) int {
	ranks := map[string]int{
		kindNamespace:   rankNamespace,
		kindDefinition:  rankDefinition,
		"PriorityClass": rankClass, "StorageClass": rankClass, "RuntimeClass": rankClass, "IngressClass": rankClass,
		"CSIDriver": rankClass, "ResourceQuota": rankClass, "LimitRange": rankClass,
		"ServiceAccount": rankAccount,
		"ClusterRole":    rankRight, "ClusterRoleBinding": rankRight, "Role": rankRight, "RoleBinding": rankRight,
		"Secret": rankConfig, "ConfigMap": rankConfig,
		"PersistentVolume": rankStorage, "PersistentVolumeClaim": rankStorage,
		"Service":   rankService,
		"DaemonSet": rankWorkload, "Deployment": rankWorkload, "StatefulSet": rankWorkload, "ReplicaSet": rankWorkload,
		"Pod": rankWorkload, "Job": rankWorkload, "CronJob": rankWorkload,
		"MutatingWebhookConfiguration": rankHook, "ValidatingWebhookConfiguration": rankHook, "APIService": rankHook,
	}
	if n, ok := ranks[r.Kind]; ok {
		return n
	}
	return rankRest
}

func definition(r Ref) bool { return r.Kind == kindDefinition && r.gvk().Group == groupDefinitions }
