// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

const (
	defaultURL     = "https://127.0.0.1:9443"
	defaultProject = "Default"
)

// The environment of the connection.
const (
	envURL     = "LAZULI_URL"
	envAPIKey  = "LAZULI_API_KEY"
	envCAFile  = "LAZULI_CA_FILE"
	envProject = "LAZULI_PROJECT"
)

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// connect makes a client in the project's scope. The caller closes it.
func (a *app) connect(ctx context.Context) (*client.Client, error) {
	c, err := a.connectTenant()
	if err != nil {
		return nil, err
	}
	uid, err := findProject(ctx, c, first(a.project, a.getenv(envProject), defaultProject))
	if err != nil {
		c.Close()
		return nil, err
	}
	return c.In(uid), nil
}

// connectTenant makes a client in the tenant's scope, for what is in no
// project. The caller closes it.
func (a *app) connectTenant() (*client.Client, error) {
	key := first(a.apiKey, a.getenv(envAPIKey))
	if key == "" {
		return nil, &usageError{err: &lazuli.Error{
			Code: lazuli.CodeUnauthenticated, Message: "no API key",
			Remedy: "set " + envAPIKey + "; the hub wrote its first key to admin.key in its data directory",
		}}
	}
	c, err := client.New(client.Config{
		URL: first(a.url, a.getenv(envURL), defaultURL), APIKey: lazuli.NewSecret(key),
		CAFile: first(a.caFile, a.getenv(envCAFile)), Agent: "lazuli/" + Version,
	})
	if err != nil {
		return nil, &usageError{err: err}
	}
	return c, nil
}

// findProject is the uid of a project.
func findProject(ctx context.Context, c *client.Client, name string) (string, error) {
	projects, err := c.Projects(ctx)
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(projects))
	for _, p := range projects {
		if strings.EqualFold(p.Metadata.Name, name) || p.Metadata.UID == name {
			return p.Metadata.UID, nil
		}
		names = append(names, p.Metadata.Name)
	}
	return "", &lazuli.Error{
		Code: lazuli.CodeNotFound, Message: "project \"" + name + "\" is not there, or not for this key",
		Remedy: "choose one of: " + strings.Join(names, ", "),
	}
}

// found picks what a name or uid means; more than one match of a name is an
// error that lists the uids.
func found[T any](items []T, kind, want string, head func(T) (name, uid string)) (T, error) {
	var hits []T
	var uids []string
	for _, it := range items {
		name, uid := head(it)
		if uid == want {
			return it, nil
		}
		if strings.EqualFold(name, want) {
			hits = append(hits, it)
			uids = append(uids, uid)
		}
	}
	var none T
	switch len(hits) {
	case 1:
		return hits[0], nil
	case 0:
		return none, lazuli.Errorf(lazuli.CodeNotFound, "%s %q is not there", kind, want)
	default:
		return none, &lazuli.Error{
			Code:    lazuli.CodeConflict,
			Message: kind + " \"" + want + "\" means more than one",
			Remedy:  "give one of the uids " + strings.Join(uids, ", "),
		}
	}
}

func findAccount(ctx context.Context, c *client.Client, want string) (palette.AzureAccount, error) {
	items, err := c.Accounts(ctx)
	if err != nil {
		return palette.AzureAccount{}, err
	}
	return found(items, "cloud account", want, func(x palette.AzureAccount) (string, string) {
		return x.Metadata.Name, x.Metadata.UID
	})
}

// findProfile takes name, name@version or uid; a name alone must have one
// version only, as nobody should have to guess which one a cluster gets.
func findProfile(ctx context.Context, c *client.Client, want string) (palette.ClusterProfileMetadata, error) {
	items, err := c.Profiles(ctx)
	if err != nil {
		return palette.ClusterProfileMetadata{}, err
	}
	name, version, exact := strings.Cut(want, "@")
	if exact {
		kept := items[:0:0]
		for _, p := range items {
			if p.Spec.Version == version {
				kept = append(kept, p)
			}
		}
		items = kept
	}
	p, err := found(items, "cluster profile", name, func(x palette.ClusterProfileMetadata) (string, string) {
		return x.Metadata.Name, x.Metadata.UID
	})
	if lazuli.CodeOf(err) == lazuli.CodeConflict {
		err = &lazuli.Error{
			Code: lazuli.CodeConflict, Message: "cluster profile \"" + name + "\" has more than one version",
			Remedy: "give name@version",
		}
	}
	if lazuli.CodeOf(err) == lazuli.CodeNotFound {
		err = lazuli.Errorf(lazuli.CodeNotFound, "cluster profile %q is not there", want)
	}
	return p, err
}

func findCluster(ctx context.Context, c *client.Client, want string) (palette.ClusterSummary, error) {
	name := want
	if lazuli.ValidUID(want) {
		name = "" // a name may look like a uid: take all and compare both
	}
	items, err := c.Clusters(ctx, name)
	if err != nil {
		return palette.ClusterSummary{}, err
	}
	return found(items, "cluster", want, func(x palette.ClusterSummary) (string, string) {
		return x.Metadata.Name, x.Metadata.UID
	})
}
