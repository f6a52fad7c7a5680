// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
)

// goalState is the least that provisioning agents (cloud-init, WALinuxAgent) take for a goal state. There are no
// certificates: keys are in the metadata.
const goalState = `<?xml version="1.0" encoding="utf-8"?>
<GoalState xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="goalstate10.xsd">
  <Version>2012-11-30</Version>
  <Incarnation>1</Incarnation>
  <Machine>
    <ExpectedState>Started</ExpectedState>
    <StopRolesDeadlineHint>300000</StopRolesDeadlineHint>
    <ExpectHealthReport>TRUE</ExpectHealthReport>
  </Machine>
  <Container>
    <ContainerId>%s</ContainerId>
    <RoleInstanceList>
      <RoleInstance>
        <InstanceId>%s</InstanceId>
        <State>Started</State>
        <Configuration></Configuration>
      </RoleInstance>
    </RoleInstanceList>
  </Container>
</GoalState>
`

const wireVersions = `<?xml version="1.0" encoding="utf-8"?>
<Versions>
  <Preferred><Version>2015-04-05</Version></Preferred>
  <Supported><Version>2015-04-05</Version><Version>2012-11-30</Version></Supported>
</Versions>
`

// health is an agent's report.
type health struct {
	XMLName     xml.Name `xml:"Health"`
	State       string   `xml:"Container>RoleInstanceList>Role>Health>State"`
	SubStatus   string   `xml:"Container>RoleInstanceList>Role>Health>Details>SubStatus"`
	Description string   `xml:"Container>RoleInstanceList>Role>Health>Details>Description"`
}

// wireHandler is the wire server: the goal state, and the agent's report of how provisioning went.
func wireHandler(bySource func(netip.Addr) (Port, bool), report func(machineID string, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, known := bySource(sourceOf(r.RemoteAddr))
		comp := strings.ToLower(r.URL.Query().Get("comp"))
		machine := strings.EqualFold(strings.TrimSuffix(r.URL.Path, "/"), "/machine")
		switch {
		case !known:
			http.NotFound(w, r)
		case r.Method == http.MethodGet && comp == "versions":
			writeXML(w, wireVersions)
		case r.Method == http.MethodGet && machine && comp == "goalstate":
			writeXML(w, fmt.Sprintf(goalState, escaped(p.Machine.VMID), escaped("_"+p.Machine.Name)))
		case r.Method == http.MethodPost && machine && comp == "health":
			const largest = 1 << 20
			var h health
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largest))
			if err == nil {
				err = xml.Unmarshal(body, &h)
			}
			if err != nil {
				http.Error(w, "the report is not understood", http.StatusBadRequest)
				return
			}
			switch {
			case strings.EqualFold(h.State, "Ready"):
				report(p.Machine.ID, nil)
			case strings.EqualFold(h.SubStatus, "ProvisioningFailed"): // Others say that provisioning goes on.
				report(p.Machine.ID, errors.New(h.Description))
			}
			w.WriteHeader(http.StatusOK)
		default:
			http.NotFound(w, r)
		}
	})
}

func writeXML(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	fmt.Fprint(w, text)
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // A builder takes everything.
	return b.String()
}
