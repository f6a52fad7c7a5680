// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/workload"
)

// Act is what an intent wants done.
type Act string

// The acts.
const (
	ActSizes          Act = "sizes"          // look up the sizes sold in the location
	ActMakeKeys       Act = "makeKeys"       // make PKI and tokens, and seal them
	ActMakeToken      Act = "makeToken"      // make a bootstrap token for a late machine in the running cluster
	ActMakeKubeconfig Act = "makeKubeconfig" // make the administrator's kubeconfig
	ActPut            Act = "put"            // write an Azure resource
	ActGet            Act = "get"            // read an Azure resource by its id
	ActPoll           Act = "poll"           // ask once for a long-running operation
	ActDelete         Act = "delete"         // delete an Azure resource by its id
	ActList           Act = "list"           // list what carries the cluster's tag
	ActBootLog        Act = "bootLog"        // read the end of a VM's serial console
	ActReady          Act = "ready"          // ask the API server for /readyz
	ActNodes          Act = "nodes"          // list the cluster's nodes
	ActMark           Act = "mark"           // put a pool's labels, annotations and taints on a Node
	ActDrain          Act = "drain"          // cordon a Node and evict what is on it
	ActUncordon       Act = "uncordon"       // let pods onto a Node again
	ActDropNode       Act = "dropNode"       // delete the Node of a machine that is gone
	ActApply          Act = "apply"          // apply a release's manifests; of one without any, take them out
	ActStatus         Act = "status"         // see whether a release is ready
	ActDeleteToken    Act = "deleteToken"    // withdraw a used bootstrap token
	ActDeleteServices Act = "deleteServices" // delete Services that hold Azure load balancers
	ActPurge          Act = "purge"          // remove the records of a cluster deleted long ago
)

// Intent is one effect that a step wants to have. Its Key is unique among the
// intents in flight.
type Intent struct {
	Act     Act
	Node    string // of the graph, or another subject
	AzureID string
	Spec    resource.Spec
	PollURL string
	Force   bool
	Release release
	Token   string // id of a bootstrap token
	Server  string // URL of the API server, for a kubeconfig
	TLSName string // name on its certificate, when Server has another
	Joiners []string
	// Marks and Unmarks are what a Node shall carry, and what it was given before.
	Marks, Unmarks workload.Marks

	view view // of the world when the intent was named
}

// Key identifies the intent among those in flight.
func (i Intent) Key() string { return string(i.Act) + " " + i.Node }

// Answer is what came of an intent.
type Answer struct {
	Intent  Intent
	Err     error
	Result  resource.Result
	Found   []resource.Found
	Sizes   []resource.Size
	Nodes   []workload.Node
	Secrets *Secrets
	Ready   bool
	Waiting []string
	Drained workload.Drained
	Count   int
	Text    string
}

// release is a set of manifests and where it comes from.
type release struct {
	Set        workload.Set
	Pack       string // name of the profile's layer
	ProfileUID string
	NeedsCloud bool // wants the cloud configuration, which holds the account's secret, beside it
}

// hash identifies what is applied.
func (r release) hash() string {
	sum := sha256.Sum256(r.Set.Documents)
	return hex.EncodeToString(sum[:8])
}

// event is a finding of a step that users should see.
type event struct {
	Severity lazuli.Severity
	Reason   string
	Message  string
}
