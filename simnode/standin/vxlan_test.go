// SPDX-License-Identifier: Apache-2.0

package standin_test

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/lazuli-dev/lazuli/simnode/standin"
)

func node(name, address, podCIDR string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Spec.PodCIDR = podCIDR
	if address != "" {
		n.Status.Addresses = standin.Addresses(name, address)
	}
	return n
}

func TestEnds(t *testing.T) {
	t.Parallel()
	nodes := []*corev1.Node{
		node("c", "10.0.0.6", "192.168.2.0/24"),
		node("b", "10.0.0.5", "192.168.1.0/24"),
		node("a", "10.0.0.4", "192.168.0.0/24"),
		node("young", "", "192.168.3.0/24"),
		node("younger", "10.0.0.8", ""),
	}
	self, peers, err := standin.Ends("a", nodes)
	if err != nil || self.PodCIDR != "192.168.0.0/24" || self.Hardware().String() != "0a:58:0a:00:00:04" {
		t.Errorf("own end %+v, error %v", self, err)
	}
	if len(peers) != 2 || peers[0].Node != "b" || peers[1].Address != "10.0.0.6" {
		t.Errorf("peers %+v: want b and c, in order, and no node that is not there yet", peers)
	}
	for name, want := range map[string]string{"young": "no address", "younger": "no pod range", "gone": "is not there"} {
		if _, _, err := standin.Ends(name, nodes); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, want)
		}
	}
}

func TestCNI(t *testing.T) {
	t.Parallel()
	body, err := standin.CNI("192.168.1.0/24", 1450)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Plugins []struct {
			Type string
			IPAM struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Plugins[0].IPAM.Ranges[0][0].Subnet != "192.168.1.0/24" || got.Plugins[1].Type != "portmap" {
		t.Errorf("configuration %s", body)
	}
	if rules := standin.Masquerade("192.168.0.0/16"); !strings.Contains(rules, "ip saddr 192.168.0.0/16 ip daddr != 192.168.0.0/16") {
		t.Errorf("rules %s", rules)
	}
}
