// SPDX-License-Identifier: Apache-2.0

package model

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

// world is what one round of the controllers sees.
type world struct {
	*cluster
	members map[string]*machine
	nodes   []*corev1.Node
	pods    []*corev1.Pod
	byOwner map[types.UID][]*corev1.Pod
	byNode  map[string][]*corev1.Pod
}

func (w *world) read() {
	w.nodes = list[corev1.Node](w.cluster, kubeapi.Nodes)
	w.pods = list[corev1.Pod](w.cluster, kubeapi.Pods)
	w.byOwner, w.byNode = map[types.UID][]*corev1.Pod{}, map[string][]*corev1.Pod{}
	for _, p := range w.pods {
		if o := metav1.GetControllerOf(p); o != nil {
			w.byOwner[o.UID] = append(w.byOwner[o.UID], p)
		}
		if p.Spec.NodeName != "" {
			w.byNode[p.Spec.NodeName] = append(w.byNode[p.Spec.NodeName], p)
		}
	}
}

func (w *world) now() metav1.Time { return metav1.NewTime(w.env.Now()).Rfc3339Copy() }

// syncNamespaces gives every namespace its service account and its copy of the CA.
func (w *world) syncNamespaces() {
	for _, ns := range w.store.List(kubeapi.Namespaces, "") {
		if ns.GetDeletionTimestamp() != nil {
			continue
		}
		name := ns.GetName()
		if _, ok := w.store.Get(kubeapi.ServiceAccounts, name, "default"); !ok {
			// A namespace that went in the meantime needs none.
			_, _ = w.store.Create(kubeapi.ServiceAccounts, serviceAccount(name, "default"))
		}
		if _, ok := w.store.Get(kubeapi.ConfigMaps, name, "kube-root-ca.crt"); !ok {
			_, _ = w.store.Create(kubeapi.ConfigMaps, configMap(name, "kube-root-ca.crt", map[string]string{"ca.crt": string(w.ca.pem)}))
		}
	}
}

// syncTokens is the token cleaner and the bootstrap signer: an expired token goes, a token that may sign has its
// signature in cluster-info.
func (w *world) syncTokens() {
	const sigPrefix = "jws-kubeconfig-"
	u, ok := w.store.Get(kubeapi.ConfigMaps, publicNamespace, "cluster-info")
	if !ok {
		return
	}
	shared, ok := view[corev1.ConfigMap](w.cluster, u)
	if !ok {
		return
	}
	info := shared.DeepCopy()
	for k := range info.Data {
		if strings.HasPrefix(k, sigPrefix) {
			delete(info.Data, k)
		}
	}
	for _, s := range w.store.List(kubeapi.Secrets, systemNamespace) {
		if !strings.HasPrefix(s.GetName(), tokenSecretPrefix) {
			continue
		}
		if kubeapi.TokenExpired(s, w.env.Outside()) {
			// A token that is gone already is no concern.
			_ = w.store.Delete(kubeapi.Secrets, systemNamespace, s.GetName())
			continue
		}
		secret, ok := view[corev1.Secret](w.cluster, s)
		if !ok {
			continue
		}
		if at, err := time.Parse(time.RFC3339, string(secret.Data["expiration"])); err == nil {
			w.once("expire/"+s.GetName()+"/"+at.String(), w.env.Until(at), w.kick)
		}
		if t, err := readToken(s); err == nil && t.signing && tokenPattern.MatchString(t.id+"."+t.secret) {
			info.Data[sigPrefix+t.id] = signature(info.Data["kubeconfig"], t.id, t.secret)
		}
	}
	w.write(kubeapi.ConfigMaps, info)
}
