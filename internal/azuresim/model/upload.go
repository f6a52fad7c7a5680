// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/lazuli-dev/lazuli/internal/azuresim/kubeapi"
)

const (
	tokenSecretPrefix = "bootstrap-token-"
	systemNamespace   = metav1.NamespaceSystem
	publicNamespace   = metav1.NamespacePublic
)

// put creates or replaces an object.
func (c *cluster) put(gr schema.GroupResource, obj runtime.Object) error {
	if _, err := c.store.Put(gr, obj); err != nil {
		return fmt.Errorf("write %s: %w", gr, err)
	}
	return nil
}

func configMap(ns, name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: data}
}

// upload stores the configuration of the cluster, its tokens, and cluster-info last, which is what joiners wait for.
func (c *cluster) upload(cfg *kubeadmConfig) error {
	kubelet := cmp.Or(cfg.others["KubeletConfiguration"], "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n")
	err := errors.Join(
		c.put(kubeapi.ConfigMaps, configMap(systemNamespace, "kubeadm-config",
			map[string]string{"ClusterConfiguration": strings.TrimLeft(cfg.clusterText, "\n")})),
		c.put(kubeapi.ConfigMaps, configMap(systemNamespace, "kubelet-config",
			map[string]string{"kubelet": strings.TrimLeft(kubelet, "\n")})),
		c.uploadRBAC(),
	)
	tokens := cfg.init.BootstrapTokens
	if len(tokens) == 0 {
		tokens = []bootstrapToken{{}}
	}
	for _, t := range tokens {
		if t.Token == "" {
			t.Token = c.randomToken()
		}
		err = errors.Join(err, c.uploadToken(t))
	}
	return errors.Join(err, c.put(kubeapi.ConfigMaps, configMap(publicNamespace, "cluster-info",
		map[string]string{"kubeconfig": c.publicKubeconfig()})))
}

// randomToken is what kubeadm makes when it is given no token.
func (c *cluster) randomToken() string {
	const alphabet, idLength, secretLength = "0123456789abcdefghijklmnopqrstuvwxyz", 6, 16
	r := c.env.Rand("model|token|" + c.config.ControlPlaneEndpoint)
	b := make([]byte, idLength+secretLength)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b[:idLength]) + "." + string(b[idLength:])
}

// publicKubeconfig is the anonymous kubeconfig of cluster-info.
func (c *cluster) publicKubeconfig() string {
	host, port, err := splitEndpoint(c.config.ControlPlaneEndpoint)
	if err != nil {
		host, port = c.serviceIP(1), httpsPort
	}
	return "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: " + base64.StdEncoding.EncodeToString(c.ca.pem) +
		"\n    server: https://" + host + ":" + strconv.Itoa(port) +
		"\n  name: \"\"\ncontexts: null\ncurrent-context: \"\"\nkind: Config\npreferences: {}\nusers: null\n"
}

// uploadRBAC stores the administrators' binding that kubeadm makes. The API server's policy is fixed; the object is
// there for those who look for it.
func (c *cluster) uploadRBAC() error {
	return c.put(schema.GroupResource{Group: rbacv1.GroupName, Resource: "clusterrolebindings"}, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "kubeadm:cluster-admins"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "kubeadm:cluster-admins"}},
	})
}

// uploadToken stores a bootstrap token as the Secret that the authenticator and the signer read.
func (c *cluster) uploadToken(t bootstrapToken) error {
	id, secret, _ := strings.Cut(t.Token, ".")
	ttl, err := optionalDuration(t.TTL, defaultTokenTTL)
	if err != nil {
		return err
	}
	data := map[string][]byte{"token-id": []byte(id), "token-secret": []byte(secret)}
	if t.Description != "" {
		data["description"] = []byte(t.Description)
	}
	switch {
	case t.Expires != "":
		data["expiration"] = []byte(t.Expires)
	case ttl > 0:
		data["expiration"] = []byte(c.env.Outside().Add(ttl).UTC().Format(time.RFC3339))
	}
	usages := t.Usages
	if len(usages) == 0 {
		usages = []string{"signing", "authentication"}
	}
	for _, u := range usages {
		data["usage-bootstrap-"+u] = []byte("true")
	}
	groups := t.Groups
	if len(groups) == 0 {
		groups = []string{defaultTokenGroup}
	}
	data["auth-extra-groups"] = []byte(strings.Join(groups, ","))
	return c.put(kubeapi.Secrets, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: tokenSecretPrefix + id},
		Type:       corev1.SecretTypeBootstrapToken, Data: data,
	})
}

// tokenOf is a bootstrap token Secret.
type tokenOf struct {
	id, secret              string
	signing, authentication bool
	groups                  []string
}

func readToken(u *unstructured.Unstructured) (tokenOf, error) {
	s, err := kubeapi.As[corev1.Secret](u)
	if err != nil {
		return tokenOf{}, err
	}
	return tokenOf{
		id: string(s.Data["token-id"]), secret: string(s.Data["token-secret"]),
		signing:        string(s.Data["usage-bootstrap-signing"]) == "true",
		authentication: string(s.Data["usage-bootstrap-authentication"]) == "true",
		groups:         strings.Split(string(s.Data["auth-extra-groups"]), ","),
	}, nil
}

// installAddons stores CoreDNS and kube-proxy as kubeadm does.
func (c *cluster) installAddons(skipDNS, skipProxy bool) error {
	var err error
	if !skipDNS {
		err = c.installDNS()
	}
	if !skipProxy {
		err = errors.Join(err, c.installProxy())
	}
	return err
}

func serviceAccount(ns, name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
}

// podTemplate is a template with one container.
func podTemplate(app, image string, spec corev1.PodSpec) corev1.PodTemplateSpec {
	spec.Containers = []corev1.Container{{Name: app, Image: image}}
	spec.ServiceAccountName = app
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"k8s-app": app}}, Spec: spec}
}

func (c *cluster) installDNS() error {
	const app, dnsReplicas, dnsPort = "coredns", int32(2), int32(53)
	labels := map[string]string{"k8s-app": "kube-dns"}
	replicas := dnsReplicas
	template := podTemplate(app, "registry.k8s.io/coredns/coredns:v1.13.1", corev1.PodSpec{
		PriorityClassName: "system-cluster-critical",
		NodeSelector:      map[string]string{corev1.LabelOSStable: "linux"},
		Tolerations: []corev1.Toleration{
			{Key: "CriticalAddonsOnly", Operator: corev1.TolerationOpExists},
			{Key: labelControlPlane, Effect: corev1.TaintEffectNoSchedule},
		},
	})
	template.Labels = labels
	return errors.Join(
		c.put(kubeapi.ServiceAccounts, serviceAccount(systemNamespace, app)),
		c.put(kubeapi.ConfigMaps, configMap(systemNamespace, app, map[string]string{"Corefile": ".:53 {\n    kubernetes " + c.dnsDomain() + "\n}\n"})),
		c.put(kubeapi.Deployments, &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: app, Labels: labels},
			Spec: appsv1.DeploymentSpec{
				Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template,
			},
		}),
		c.put(kubeapi.Services, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "kube-dns", Labels: labels},
			Spec: corev1.ServiceSpec{ClusterIP: c.serviceIP(10), Selector: labels, Ports: []corev1.ServicePort{
				{Name: "dns", Port: dnsPort, Protocol: corev1.ProtocolUDP}, {Name: "dns-tcp", Port: dnsPort, Protocol: corev1.ProtocolTCP},
			}},
		}),
	)
}

func (c *cluster) installProxy() error {
	const app = "kube-proxy"
	template := podTemplate(app, "registry.k8s.io/kube-proxy:"+c.config.KubernetesVersion, corev1.PodSpec{
		HostNetwork: true, PriorityClassName: "system-node-critical",
		NodeSelector: map[string]string{corev1.LabelOSStable: "linux"},
		Tolerations:  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
	})
	return errors.Join(
		c.put(kubeapi.ServiceAccounts, serviceAccount(systemNamespace, app)),
		c.put(kubeapi.ConfigMaps, configMap(systemNamespace, app, map[string]string{"config.conf": "kind: KubeProxyConfiguration\n"})),
		c.put(kubeapi.DaemonSets, &appsv1.DaemonSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: app, Labels: template.Labels},
			Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template},
		}),
	)
}

// installKubernetesService makes the Service that leads pods to the API server.
func (c *cluster) installKubernetesService() error {
	return c.put(kubeapi.Services, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "kubernetes", Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"}},
		Spec: corev1.ServiceSpec{ClusterIP: c.serviceIP(1), Ports: []corev1.ServicePort{
			{Name: "https", Port: httpsPort, TargetPort: intstr.FromInt32(defaultBindPort), Protocol: corev1.ProtocolTCP},
		}},
	})
}
