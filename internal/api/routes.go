// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/contract"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

const (
	ok        = http.StatusOK
	created   = http.StatusCreated
	noContent = http.StatusNoContent
)

// routes is the one table of what is served. Operation ids and success codes
// under /v1 are Palette's: its clients take another code for a failure and send
// the request again.
func routes() []route {
	return slices.Concat(paletteRoutes(), accountRoutes(), profileRoutes(), packRoutes(), registryRoutes(), macroRoutes(),
		clusterDay2Routes(), clusterFeatureRoutes(), eventRoutes(), identityRoutes(), ownRoutes())
}

func paletteRoutes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	const cluster, config = "/v1/spectroclusters/{uid}", "/v1/cloudconfigs/azure/{uid}"
	return []route{
		{Method: get, Pattern: "/v1/dashboard/projects/metadata", Operation: "v1ProjectsMetadata", Permission: auth.None, Status: ok, Handle: listProjects},

		{Method: post, Pattern: "/v1/spectroclusters/azure", Operation: "v1SpectroClustersAzureCreate", Permission: auth.ClusterCreate, Status: created, Body: maxBody, Mutates: true, Handle: createCluster},
		{Method: get, Pattern: "/v1/spectroclusters", Operation: "v1SpectroClustersList", Permission: auth.ClusterList, Status: ok, Handle: listClusters},
		{Method: get, Pattern: cluster, Operation: "v1SpectroClustersGet", Permission: auth.ClusterGet, Status: ok, Handle: getCluster},
		{Method: del, Pattern: cluster, Operation: "v1SpectroClustersDelete", Permission: auth.ClusterDelete, Status: noContent, Mutates: true, Handle: deleteCluster},
		{Method: get, Pattern: "/v1/dashboard/spectroclusters/{uid}/overview", Operation: "v1SpectroClustersSummaryUidOverview", Permission: auth.ClusterGet, Status: ok, Handle: getOverview},
		{Method: post, Pattern: "/v1/dashboard/spectroclusters/search", Operation: "v1SpectroClustersSearchFilterSummary", Permission: auth.ClusterList, Status: ok, Body: maxBody, Handle: searchClusters},
		{Method: get, Pattern: "/v1/dashboard/spectroclusters/search/schema", Operation: "v1SpectroClustersSearchSchema", Permission: auth.ClusterList, Status: ok, Handle: searchSchema},
		{Method: get, Pattern: cluster + "/assets/kubeconfigclient", Operation: "v1SpectroClustersUidKubeConfigClientGet", Permission: auth.ClusterGet, Status: ok, Handle: getKubeconfig},
		{Method: get, Pattern: cluster + "/assets/kubeconfig", Operation: "v1SpectroClustersUidKubeConfig", Permission: auth.ClusterGet, Status: ok, Handle: getKubeconfig},
		{Method: get, Pattern: cluster + "/assets/adminKubeconfig", Operation: "v1SpectroClustersUidAdminKubeConfig", Permission: auth.ClusterDelete, Status: ok, Handle: getAdminKubeconfig},

		{Method: get, Pattern: config, Operation: "v1CloudConfigsAzureGet", Permission: auth.CloudConfigGet, Status: ok, Handle: getCloudConfig},
		{Method: get, Pattern: config + "/machinePools/{name}/machines", Operation: "v1CloudConfigsAzurePoolMachinesList", Permission: auth.MachineList, Status: ok, Handle: listMachines},
		{Method: get, Pattern: config + "/machinePools/{name}/machines/{machineUid}", Operation: "v1CloudConfigsAzurePoolMachinesUidGet", Permission: auth.MachineGet, Status: ok, Handle: getMachine},
	}
}

func ownRoutes() []route {
	const get, own = http.MethodGet, "/lazuli/v1/clusters"
	return []route{
		{Method: get, Pattern: "/healthz", Operation: "healthz", Public: true, Status: ok, Handle: healthz},
		{Method: get, Pattern: "/readyz", Operation: "readyz", Public: true, Status: ok, Handle: readyz},
		{Method: get, Pattern: "/lazuli/v1/openapi.yaml", Operation: "openapi", Public: true, Status: ok, Handle: getContract},
		{Method: get, Pattern: "/lazuli/v1/version", Operation: "version", Permission: auth.None, Status: ok, Handle: getVersion},
		{Method: http.MethodPost, Pattern: own + "/plan", Operation: "planCluster", Permission: auth.ClusterCreate, Status: ok, Body: maxBody, Handle: planCluster},
		{Method: get, Pattern: own + "/{uid}/tasks", Operation: "listTasks", Permission: auth.ClusterGet, Status: ok, Handle: getTasks},
		{Method: get, Pattern: own + "/{uid}/graph", Operation: "getGraph", Permission: auth.ClusterGet, Status: ok, Handle: getGraph},
		{Method: get, Pattern: own + "/{uid}/events", Operation: "listEvents", Permission: auth.ClusterGet, Status: ok, Handle: listEvents},
		{Method: get, Pattern: own + "/{uid}/watch", Operation: "watchCluster", Permission: auth.ClusterGet, Status: ok, Stream: true, Handle: watchCluster},
	}
}

const (
	// readyTimeout bounds the look at the store.
	readyTimeout = 2 * time.Second
	// readyFor is how long what was found about writing is told: anybody may ask.
	readyFor = time.Second
)

// healthz answers while the process serves.
func healthz(*API, *call) (any, error) { return plain("ok\n"), nil }

// readyz answers while the store does, and while it stores what it is given.
func readyz(a *API, c *call) (any, error) {
	ctx, cancel := context.WithTimeout(c.ctx(), readyTimeout)
	defer cancel()
	if _, err := a.Store.Query(ctx, store.Query{Kind: lazuli.KindProject, Limit: 1}); err != nil {
		return nil, &lazuli.Error{
			Code: lazuli.CodeUnavailable, Message: "the store does not answer", Err: fmt.Errorf("look at the store: %w", err),
		}
	}
	if err := a.writable.ask(ctx, a.Store, a.Now()); err != nil {
		return nil, &lazuli.Error{
			Code: lazuli.CodeUnavailable, Message: "the store takes no changes", Err: fmt.Errorf("write to the store: %w", err),
		}
	}
	return plain("ok\n"), nil
}

// writable is what was found last about writing to the store.
type writable struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// ask finds out anew unless it was just done. Who asks meanwhile waits for the
// answer; one that the caller's end cut short is no answer for others.
func (w *writable) ask(ctx context.Context, s store.Store, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if age := now.Sub(w.at); age >= 0 && age < readyFor {
		return w.err
	}
	err := s.Writable(ctx)
	if ctx.Err() == nil {
		w.at, w.err = now, err
	}
	return err
}

// getContract serves the document that the API is held to.
func getContract(*API, *call) (any, error) { return document(contract.Document()), nil }

func getVersion(a *API, _ *call) (any, error) {
	return wire.HubVersion{Version: orElse(a.Version, "dev")}, nil
}
