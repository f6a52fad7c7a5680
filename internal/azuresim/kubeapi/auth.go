// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Groups and users that the server knows.
const (
	groupMasters         = "system:masters"
	groupClusterAdmins   = "kubeadm:cluster-admins"
	groupBootstrappers   = "system:bootstrappers"
	groupNodes           = "system:nodes"
	groupAuthenticated   = "system:authenticated"
	groupUnauthenticated = "system:unauthenticated"
	userAnonymous        = "system:anonymous"
)

// User is who a request comes from.
type User struct {
	Name   string
	Groups []string
}

func (u User) in(groups ...string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(u.Groups, g) })
}

type userKey struct{}

// WithUser marks a request's context as authenticated, for callers of the handler that have no TLS connection.
func WithUser(ctx context.Context, u User) context.Context {
	return context.WithValue(ctx, userKey{}, u)
}

var errUnauthorized = apierrors.NewUnauthorized("Unauthorized")

// authenticate finds the user of a request: in-process identity, client certificate, bearer token, anonymous. A
// credential that is present and bad is 401, never anonymous.
func (s *Server) authenticate(r *http.Request) (User, error) {
	if u, ok := r.Context().Value(userKey{}).(User); ok {
		u.Groups = append(slices.Clone(u.Groups), groupAuthenticated)
		return u, nil
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		u, err := s.certificateUser(r.TLS.PeerCertificates)
		if err == nil {
			return u, nil
		}
		if r.Header.Get("Authorization") == "" {
			return User{}, errUnauthorized
		}
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return User{Name: userAnonymous, Groups: []string{groupUnauthenticated}}, nil
	}
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return User{}, errUnauthorized
	}
	return s.tokenUser(strings.TrimSpace(token))
}

// certificateUser verifies a client certificate against the cluster CA: CN is the user, O are the groups.
func (s *Server) certificateUser(chain []*x509.Certificate) (User, error) {
	if s.clientCAs == nil {
		return User{}, errUnauthorized
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         s.clientCAs,
		Intermediates: intermediates,
		CurrentTime:   s.outside(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return User{}, fmt.Errorf("verify client certificate: %w", err)
	}
	subject := chain[0].Subject
	return User{Name: subject.CommonName, Groups: append(slices.Clone(subject.Organization), groupAuthenticated)}, nil
}

// tokenUser checks a bootstrap token "id.secret" against the Secret bootstrap-token-<id> in kube-system, as the token
// authenticator of kube-apiserver does.
func (s *Server) tokenUser(token string) (User, error) {
	id, secret, ok := strings.Cut(token, ".")
	if !ok || id == "" || secret == "" {
		return User{}, errUnauthorized
	}
	u, ok := s.store.Get(Secrets, "kube-system", "bootstrap-token-"+id)
	if !ok || u.GetDeletionTimestamp() != nil || nestedString(u, "type") != "bootstrap.kubernetes.io/token" {
		return User{}, errUnauthorized
	}
	want := secretValue(u, "token-secret")
	if want == "" || subtle.ConstantTimeCompare([]byte(want), []byte(secret)) != 1 ||
		secretValue(u, "token-id") != id || secretValue(u, "usage-bootstrap-authentication") != "true" ||
		TokenExpired(u, s.outside()) {
		return User{}, errUnauthorized
	}
	groups := []string{groupBootstrappers, groupAuthenticated}
	for g := range strings.SplitSeq(secretValue(u, "auth-extra-groups"), ",") {
		if strings.HasPrefix(g, groupBootstrappers+":") {
			groups = append(groups, g)
		}
	}
	return User{Name: "system:bootstrap:" + id, Groups: groups}, nil
}

// TokenExpired says whether a bootstrap token Secret is past its expiration, by the clock of who made it; one that cannot
// be read counts as past.
func TokenExpired(secret *unstructured.Unstructured, now time.Time) bool {
	text := secretValue(secret, "expiration")
	if text == "" {
		return false
	}
	at, err := time.Parse(time.RFC3339, text)
	return err != nil || !now.Before(at)
}

func secretValue(u *unstructured.Unstructured, key string) string {
	raw, err := base64.StdEncoding.DecodeString(nestedString(u, "data", key))
	if err != nil {
		return ""
	}
	return string(raw)
}

// publicPaths answer anyone, as RBAC's system:public-info-viewer lets them.
func publicPath(path string) bool {
	for _, p := range []string{"/readyz", "/livez", "/healthz"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return path == "/version" || path == "/version/"
}

// discoveryPath is what any authenticated user may read (RBAC's system:discovery).
func discoveryPath(path string) bool {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	switch segments[0] {
	case "api":
		return len(segments) <= 2
	case "apis":
		return len(segments) <= 3
	case "openapi":
		return true
	}
	return false
}

// authorize decides on a request. req is nil for paths that are not resources.
func authorize(u User, path string, req *request) error {
	if u.in(groupMasters, groupClusterAdmins) || publicPath(path) {
		return nil
	}
	if req == nil {
		if u.in(groupAuthenticated) && discoveryPath(path) {
			return nil
		}
		return forbidden(u, path, nil)
	}
	if allowed(u, req) {
		return nil
	}
	return forbidden(u, path, req)
}

// allowed is the fixed policy for those who are not administrators: what a kubeadm bootstrap needs, and read access for
// the kubelets' own identities.
func allowed(u User, req *request) bool {
	gr := schema.GroupResource{Group: req.gvr.Group, Resource: req.gvr.Resource}
	reads := req.verb == "get"
	if reads && gr == ConfigMaps && req.ns == "kube-public" && req.name == "cluster-info" {
		return true
	}
	csr := schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}
	bootstraps := u.in(groupBootstrappers, groupNodes)
	switch {
	case !bootstraps:
		return false
	case gr == ConfigMaps && reads && req.ns == "kube-system":
		return slices.Contains([]string{"kubeadm-config", "kubelet-config", "kube-proxy"}, req.name)
	case gr == csr:
		return slices.Contains([]string{"create", "get", "list", "watch"}, req.verb) && req.sub == ""
	case gr == Nodes && reads:
		return true
	}
	return u.in(groupNodes) && nodeAllowed(u, gr, req)
}

// nodeAllowed is a small part of the node authoriser: a kubelet reads the cluster and writes its own node and events.
func nodeAllowed(u User, gr schema.GroupResource, req *request) bool {
	switch req.verb {
	case "get", "list", "watch":
		return slices.Contains([]schema.GroupResource{Nodes, Pods, Services, Leases}, gr)
	case "create":
		return gr == Events || gr == Leases && req.ns == "kube-node-lease"
	case "patch", "update":
		own := strings.TrimPrefix(u.Name, "system:node:")
		return gr == Nodes && req.name == own || gr == Events || gr == Leases && req.name == own
	}
	return false
}

// forbidden phrases a 403 as RBAC does.
func forbidden(u User, path string, req *request) error {
	if req == nil {
		return &apierrors.StatusError{ErrStatus: apierrors.NewForbidden(schema.GroupResource{}, "",
			fmt.Errorf("User %q cannot get path %q", u.Name, path)).ErrStatus}
	}
	where := " at the cluster scope"
	if req.ns != "" {
		where = fmt.Sprintf(" in the namespace %q", req.ns)
	}
	what := req.gvr.Resource
	if req.sub != "" {
		what += "/" + req.sub
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: req.gvr.Group, Resource: req.gvr.Resource}, req.name,
		fmt.Errorf("User %q cannot %s resource %q in API group %q%s", u.Name, req.verb, what, req.gvr.Group, where))
}
