// SPDX-License-Identifier: Apache-2.0

package azuresim_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// TestAttachmentEgress asks for the way out of a subnet whose security group denies some port: it is there, the rules say
// what may take it.
func TestAttachmentEgress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason, denied string
		nat, want      bool
	}{
		{"no gateway", "25", false, false},
		{"a gateway, and nothing of note is denied", "25", true, true},
		{"a gateway, and HTTPS is denied", "443", true, true},
		{"a gateway, and everything is denied", "*", true, true},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := start(t, azuresim.Config{Seed: 5, Machines: newServers(t), NoLatency: true}, world())
				r := login(t, s, client)
				apiNetwork(r, "Internet", tc.nat)
				deny := strings.NewReplacer(`"destinationPortRange":"22"`, fmt.Sprintf(`"destinationPortRange":%q`, tc.denied), "Inbound", "Outbound", "Allow", "Deny")
				r.must(http.MethodPut, networkBase+"networkSecurityGroups/g", `{"location":"westeurope","properties":{"securityRules":[`+deny.Replace(rule("denied", 200))+`]}}`)
				settle()
				machine(r, "m1")
				settle()
				at, err := s.Attachment(vmID("m1"))
				if err != nil {
					t.Fatal(err)
				}
				if at.Egress.IsValid() != tc.want {
					t.Errorf("the address outside is %v, want one: %v", at.Egress, tc.want)
				}
				if first := at.Outbound[0][0]; first.Name != "denied" || first.Allow {
					t.Errorf("the first rule outbound is %+v", first)
				}
			})
		})
	}
}
