// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxBody is the API server's limit of a request body, in bytes.
const maxBody = 3 << 20

// Options configure a Server.
type Options struct {
	// Now is the cluster's clock. Required.
	Now func() time.Time
	// Outside is the clock that tokens and certificates are made by. Default Now.
	Outside func() time.Time
	// Random feeds uids and generated names. Required.
	Random func() uint64
	// ClientCA verifies client certificates; nil accepts none.
	ClientCA *x509.Certificate
	// Version is what /version says, such as "v1.36.2". Default v1.36.0.
	Version string
	// ServiceCIDR is the service subnet. Default DefaultServiceCIDR.
	ServiceCIDR string
	// Logger gets one debug line per request. Default: none.
	Logger *slog.Logger
}

// Server is the API of one cluster. It is an http.Handler; TLS is the caller's, which should request (not require)
// client certificates without verifying them.
type Server struct {
	store     *Store
	now       func() time.Time
	outside   func() time.Time
	clientCAs *x509.CertPool
	version   string
	log       *slog.Logger
}

// New makes the API of an empty cluster.
func New(o Options) (*Server, error) {
	if o.Now == nil || o.Random == nil {
		return nil, errors.New("make API server: Now and Random are required")
	}
	pool, err := parseServicePool(o.ServiceCIDR)
	if err != nil {
		return nil, err
	}
	s := &Server{store: newStore(o.Now, o.Random, pool), now: o.Now, outside: o.Outside, version: o.Version, log: o.Logger}
	if s.outside == nil {
		s.outside = o.Now
	}
	if s.version == "" {
		s.version = "v1.36.0"
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.ClientCA != nil {
		s.clientCAs = x509.NewCertPool()
		s.clientCAs.AddCert(o.ClientCA)
	}
	for _, ns := range []string{"default", "kube-node-lease", "kube-public", "kube-system"} {
		if err := s.store.EnsureNamespace(ns); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Store is the state behind the server, for the cluster's own components.
func (s *Server) Store() *Store { return s.store }

// ServeHTTP answers one API request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache, private")
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	user, err := s.authenticate(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	req, err := s.parse(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.log.Debug("kubernetes request", "method", r.Method, "path", r.URL.Path, "user", user.Name)
	if err := authorize(user, r.URL.Path, req); err != nil {
		s.fail(w, err)
		return
	}
	if req == nil {
		s.servePath(w, r)
		return
	}
	if req.virtual {
		s.serveReview(w, r, req, user)
		return
	}
	s.serveResource(w, r, req)
}

// request is what a resource path asks for.
type request struct {
	res       *resource
	gvr       schema.GroupVersionResource
	ns        string
	name, sub string
	verb      string
	// virtual resources exist only as a question (access reviews).
	virtual bool
}

// parse reads the path of a resource request; nil without an error means another path.
func (s *Server) parse(r *http.Request) (*request, error) {
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	req := &request{}
	switch {
	case segments[0] == "api" && len(segments) > 2:
		req.gvr.Version = segments[1]
		segments = segments[2:]
	case segments[0] == "apis" && len(segments) > 3:
		req.gvr.Group, req.gvr.Version = segments[1], segments[2]
		segments = segments[3:]
	default:
		return nil, nil //nolint:nilnil // the path is of no resource
	}
	if segments[0] == "namespaces" && len(segments) > 2 && segments[2] != subStatus && segments[2] != subFinalize {
		req.ns = segments[1]
		segments = segments[2:]
	}
	req.gvr.Resource = segments[0]
	if len(segments) > 1 {
		req.name = segments[1]
	}
	if len(segments) > 2 {
		req.sub = strings.Join(segments[2:], "/")
	}
	req.verb = verbOf(r, req.name)
	req.virtual = isReview(req.gvr)
	if req.virtual {
		return req, nil
	}
	s.store.mu.Lock()
	req.res = s.store.reg.byGVR[req.gvr]
	s.store.mu.Unlock()
	if req.res == nil {
		return nil, errPathNotFound
	}
	return req, nil
}

func verbOf(r *http.Request, name string) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		switch {
		case isTrue(r.URL.Query().Get("watch")):
			return "watch"
		case name == "":
			return "list"
		}
		return "get"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if name == "" {
			return "deletecollection"
		}
		return "delete"
	}
	return strings.ToLower(r.Method)
}

func isTrue(v string) bool { return v == "true" || v == "1" }

// errPathNotFound is the 404 of a path that is not served, as distinct from a missing object.
var errPathNotFound = &apierrors.StatusError{ErrStatus: metav1.Status{
	Status:  metav1.StatusFailure,
	Code:    http.StatusNotFound,
	Reason:  metav1.StatusReasonNotFound,
	Message: "the server could not find the requested resource",
	Details: &metav1.StatusDetails{},
}}

// fail answers with a Status.
func (s *Server) fail(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(status.Details.RetryAfterSeconds))
	}
	writeJSON(w, int(status.Code), status)
}

// statusOf turns any error into a Status; an error without one is a 500.
func statusOf(err error) metav1.Status {
	var tooLarge *http.MaxBytesError
	var withStatus apierrors.APIStatus
	var status metav1.Status
	switch {
	case errors.As(err, &tooLarge):
		status = apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", tooLarge.Limit)).Status()
	case errors.As(err, &withStatus):
		status = withStatus.Status()
	default:
		status = metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error()}
	}
	status.Kind, status.APIVersion = "Status", "v1"
	return status
}
