// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// A cluster in a network that is there already, or with a private API server, is
// stored as sent; notices say that nothing is made of it.
func TestStaticPlacement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.body()
	sent := object{
		"location": "westeurope", "resourceGroup": "rg", "sshKey": sshKey, "subscriptionId": subs,
		"vnetName": "vn", "vnetResourceGroup": "nrg", "vnetCidrBlock": "10.0.0.0/8", // with the Services' range in it
		"controlPlaneSubnet": object{"name": "cp", "cidrBlock": "10.1.0.0/16", "securityGroupName": "nsg1"},
		"workerSubnet":       object{"name": "wk", "cidrBlock": "10.2.0.0/16"},
		"infraLBConfig": object{"apiServerLB": object{"type": "Internal", "ipAllocationMethod": "Static", "apiServerLBStaticIP": "10.1.0.10",
			"privateDNSName": "z.internal", "privateDNSZoneResourceGroup": "drg"}},
	}
	b["spec"].(object)["cloudConfig"] = sent
	uid := w.want(http.StatusCreated, "POST", "/v1/spectroclusters/azure", b).uid(t)
	var c palette.Cluster
	w.want(http.StatusOK, "GET", "/v1/spectroclusters/"+uid, nil).json(t, &c)
	if c.Status.State != "Pending" || len(c.Status.Conditions) > 0 {
		t.Errorf("it is %s with the conditions %v", c.Status.State, c.Status.Conditions)
	}
	var config struct {
		Spec struct {
			ClusterConfig object `json:"clusterConfig"`
		} `json:"spec"`
	}
	w.want(http.StatusOK, "GET", "/v1/cloudconfigs/azure/"+c.Spec.CloudConfigRef.UID, nil).json(t, &config)
	if diff := cmp.Diff(sent, config.Spec.ClusterConfig); diff != "" {
		t.Errorf("the configuration (-sent +got):\n%s", diff)
	}
	var notices wire.Notices
	w.want(http.StatusOK, "GET", "/lazuli/v1/clusters/"+uid+"/notices", nil).json(t, &notices)
	var fields []string
	for _, n := range notices.Items {
		fields = append(fields, n.Field)
		if !strings.Contains(n.Message, "stays Pending") {
			t.Errorf("the notice says %q", n.Message)
		}
	}
	if diff := cmp.Diff([]string{"spec.cloudConfig.vnetName", "spec.cloudConfig.infraLBConfig"}, fields); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
}

// The ranges of an existing network's subnets are what machines are in.
func TestStaticSubnetsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.body()
	set(t, b, "spec.cloudConfig.vnetName", "vn")
	set(t, b, "spec.cloudConfig.vnetCidrBlock", "10.0.0.0/8")
	set(t, b, "spec.cloudConfig.controlPlaneSubnet", object{"name": "cp", "cidrBlock": "10.1.0.0/16"})
	set(t, b, "spec.cloudConfig.workerSubnet", object{"name": "wk", "cidrBlock": "10.96.0.0/16"})
	e := w.want(http.StatusBadRequest, "POST", "/v1/spectroclusters/azure", b).err(t)
	if !strings.Contains(e.Message, "workerSubnet.cidrBlock") {
		t.Errorf("it says %q", e.Message)
	}
}
