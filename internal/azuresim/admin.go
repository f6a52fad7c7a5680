// SPDX-License-Identifier: Apache-2.0

package azuresim

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
)

// Inventory is one resource as GET /_sim/resources tells it.
type Inventory struct {
	ID                string            `json:"id"`
	Type              string            `json:"type"`
	ProvisioningState string            `json:"provisioningState"`
	Tags              map[string]string `json:"tags,omitempty"`
}

// Resources lists everything that exists, resource groups included, in the order of the ids.
func (s *Simulator) Resources() []Inventory {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Inventory, 0, len(s.store.keys))
	for _, k := range s.store.keys {
		r := s.store.byKey[k]
		out = append(out, Inventory{ID: r.id, Type: r.kind.typ, ProvisioningState: r.state, Tags: tagsOf(r.body)})
	}
	return out
}

// local says whether a request comes from this machine. In-process requests have no address.
func local(r *http.Request) bool {
	if r.RemoteAddr == "" {
		return true
	}
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// serveAdmin is the simulator's own interface: GET and DELETE /_sim/calls, GET /_sim/resources, GET and PUT
// /_sim/faults, and GET /_sim/serial, the boot diagnostics of a machine.
func (s *Simulator) serveAdmin(w http.ResponseWriter, r *http.Request) {
	if !local(r) {
		http.Error(w, "the simulator's own interface answers this machine only", http.StatusForbidden)
		return
	}
	s.advance()
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, "/_sim/") {
	case "GET calls":
		writeJSON(w, http.StatusOK, s.Calls())
	case "DELETE calls":
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	case "GET resources":
		writeJSON(w, http.StatusOK, s.Resources())
	case "GET faults":
		writeJSON(w, http.StatusOK, s.Faults())
	case "PUT faults":
		s.putFaults(w, r)
	case "GET serial":
		s.serveSerial(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *Simulator) putFaults(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list, err := ParseFaults(raw)
	if err == nil {
		err = s.SetFaults(list)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

// serveSerial wants the signature of the URL that retrieveBootDiagnosticsData gave out, as a blob store does.
func (s *Simulator) serveSerial(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	s.mu.Lock()
	g := s.vms[keyOf(id)]
	good := g != nil && g.signature == r.URL.Query().Get("sig")
	s.mu.Unlock()
	if !good {
		http.Error(w, "AuthenticationFailed", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, s.SerialConsole(id)) // The client may have gone.
}
