// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"

	"github.com/lazuli-dev/lazuli"
)

// Dialer reaches a cluster's API server: directly, as *net.Dialer does, or
// through a tunnel.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Access says which cluster, and lets in. It prints as the uid alone.
type Access struct {
	// Kubeconfig is in clear: one that holds its credential itself, by
	// certificate or by token. Files and plug-ins that it may name are not read.
	Kubeconfig []byte
	UID        string // of the cluster
}

// Format implements fmt.Formatter, so that no verb prints the kubeconfig.
func (a Access) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "access to cluster "+a.UID) }

// LogValue implements slog.LogValuer.
func (a Access) LogValue() slog.Value { return slog.StringValue("access to cluster " + a.UID) }

// MarshalJSON implements json.Marshaler: an access is never stored or sent.
func (a Access) MarshalJSON() ([]byte, error) {
	return json.Marshal("access to cluster " + a.UID) // a string always marshals
}

// Problem says why a cluster cannot be talked to.
type Problem string

// The problems.
const (
	Unreachable  Problem = "unreachable"  // no connection, or no answer in time
	TLS          Problem = "tls"          // the server is not the one that the kubeconfig trusts
	Unauthorised Problem = "unauthorised" // 401 or 403; 403 also for the seconds before kubeadm grants admins their rights
	NotReady     Problem = "not ready"    // it answers that it is not ready, or overloaded
	BadAccess    Problem = "bad access"   // the kubeconfig cannot be used
)

// AccessError is a failure to talk to a cluster, as opposed to a refusal of
// what was asked for.
type AccessError struct {
	Problem Problem
	Message string // safe to show
	Err     error  // may be nil
}

// Error implements error.
func (e *AccessError) Error() string {
	text := string(e.Problem)
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *AccessError) Unwrap() error { return e.Err }

// ProblemOf returns the problem of the first AccessError in err's chain, or "".
func ProblemOf(err error) Problem {
	if e, ok := errors.AsType[*AccessError](err); ok {
		return e.Problem
	}
	return ""
}

// classify turns what a client returns into an AccessError where it is one. The
// context is the call's own, so its end is the server's silence, except when the
// caller gave up or may not write any more.
func classify(err error) error {
	if err == nil || ProblemOf(err) != "" || errors.Is(err, context.Canceled) || lazuli.CodeOf(err) == lazuli.CodeFenced {
		return err
	}
	switch {
	case apierrors.IsUnauthorized(err), apierrors.IsForbidden(err):
		return &AccessError{Problem: Unauthorised, Err: err}
	case apierrors.IsServiceUnavailable(err), apierrors.IsTooManyRequests(err),
		apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return &AccessError{Problem: NotReady, Err: err}
	}
	if apierrors.ReasonForError(err) != "" {
		return err
	}
	return connection(err)
}

// remoteAlert is the operation that crypto/tls names when the server breaks off
// the handshake.
const remoteAlert = "remote error"

// connection classifies an error of the transport.
func connection(err error) error {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		host         x509.HostnameError
		unknown      x509.UnknownAuthorityError
		invalid      x509.CertificateInvalidError
		network      net.Error
		operation    *net.OpError
		request      *url.Error
	)
	switch {
	case errors.As(err, &operation) && operation.Op == remoteAlert, errors.As(err, &verification), errors.As(err, &record), errors.As(err, &host),
		errors.As(err, &unknown), errors.As(err, &invalid):
		return &AccessError{Problem: TLS, Err: err}
	case errors.As(err, &network), errors.As(err, &operation), errors.As(err, &request),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, http.ErrServerClosed), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, context.DeadlineExceeded):
		return &AccessError{Problem: Unreachable, Err: err}
	}
	return err
}

// target is what a kubeconfig's current context leads to.
type target struct {
	server string // https://host:port
	tls    *tls.Config
	token  string // bearer, may be empty
}

type kubeconfigFile struct {
	CurrentContext string `json:"current-context"`
	Clusters       []struct {
		Name    string `json:"name"`
		Cluster struct {
			Server        string `json:"server"`
			CA            []byte `json:"certificate-authority-data"`
			TLSServerName string `json:"tls-server-name"`
		} `json:"cluster"`
	} `json:"clusters"`
	Contexts []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
			User    string `json:"user"`
		} `json:"context"`
	} `json:"contexts"`
	Users []struct {
		Name string `json:"name"`
		User struct {
			Cert  []byte `json:"client-certificate-data"`
			Key   []byte `json:"client-key-data"`
			Token string `json:"token"`
		} `json:"user"`
	} `json:"users"`
}

// parseAccess reads a kubeconfig. It is read here and not by client-go's
// loader, which follows paths, runs plug-ins, and quotes its input in errors.
func parseAccess(raw []byte) (*target, error) {
	bad := func(message string) (*target, error) { return nil, &AccessError{Problem: BadAccess, Message: message} }
	var f kubeconfigFile
	if err := yaml.Unmarshal(raw, &f); err != nil || len(f.Contexts) == 0 {
		return bad("the kubeconfig is not one")
	}
	context := f.Contexts[0]
	for _, c := range f.Contexts {
		if c.Name == f.CurrentContext {
			context = c
		}
	}
	t := &target{tls: &tls.Config{MinVersion: tls.VersionTLS12}}
	for _, c := range f.Clusters {
		if c.Name != context.Context.Cluster {
			continue
		}
		u, err := url.Parse(c.Cluster.Server)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return bad("the kubeconfig's server is not an https URL")
		}
		t.server = strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/")
		t.tls.ServerName = c.Cluster.TLSServerName
		t.tls.RootCAs = x509.NewCertPool()
		if !t.tls.RootCAs.AppendCertsFromPEM(c.Cluster.CA) {
			return bad("the kubeconfig has no certificate authority")
		}
	}
	if t.server == "" {
		return bad("the kubeconfig's context names no cluster")
	}
	for _, u := range f.Users {
		if u.Name != context.Context.User {
			continue
		}
		t.token = u.User.Token
		if len(u.User.Cert) > 0 {
			pair, err := tls.X509KeyPair(u.User.Cert, u.User.Key)
			if err != nil {
				return bad("the kubeconfig's client certificate and key do not match")
			}
			t.tls.Certificates = []tls.Certificate{pair}
		}
	}
	if t.token == "" && len(t.tls.Certificates) == 0 {
		return bad("the kubeconfig has no credential")
	}
	return t, nil
}
