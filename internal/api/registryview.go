// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// wireMeta is palette.Meta in the wire package's type.
func wireMeta(m *lazuli.Meta) *wire.ObjectMeta {
	p := palette.Meta(m)
	return &wire.ObjectMeta{
		Annotations: p.Annotations, CreationTimestamp: wire.At(m.CreatedAt), LastModifiedTimestamp: wire.At(m.UpdatedAt),
		Labels: p.Labels, Name: p.Name, UID: p.UID,
	}
}

func createHelm(a *API, c *call) (any, error)   { return a.createRegistry(c, lazuli.RegistryHelm) }
func updateHelm(a *API, c *call) (any, error)   { return a.updateRegistry(c, lazuli.RegistryHelm) }
func deleteHelm(a *API, c *call) (any, error)   { return a.deleteRegistry(c, lazuli.RegistryHelm) }
func syncHelm(a *API, c *call) (any, error)     { return a.syncRegistry(c, lazuli.RegistryHelm) }
func getHelmSync(a *API, c *call) (any, error)  { return a.syncStatus(c, lazuli.RegistryHelm) }
func validateHelm(_ *API, c *call) (any, error) { return validateRegistry(c, lazuli.RegistryHelm) }
func createOCI(a *API, c *call) (any, error)    { return a.createRegistry(c, lazuli.RegistryOCI) }
func updateOCI(a *API, c *call) (any, error)    { return a.updateRegistry(c, lazuli.RegistryOCI) }
func deleteOCI(a *API, c *call) (any, error)    { return a.deleteRegistry(c, lazuli.RegistryOCI) }
func syncOCI(a *API, c *call) (any, error)      { return a.syncRegistry(c, lazuli.RegistryOCI) }
func getOCISync(a *API, c *call) (any, error)   { return a.syncStatus(c, lazuli.RegistryOCI) }
func validateOCI(_ *API, c *call) (any, error)  { return validateRegistry(c, lazuli.RegistryOCI) }

func (a *API) showHelm(c *call, r *lazuli.Registry) (wire.HelmRegistry, error) {
	s, err := a.shownSpec(c, r)
	if err != nil {
		return wire.HelmRegistry{}, err
	}
	return wire.HelmRegistry{
		Kind: kindHelmRegistry, Metadata: wireMeta(&r.Meta),
		Spec: &wire.HelmRegistrySpec{
			Auth: s.Auth, Endpoint: s.Endpoint, IsPrivate: s.IsPrivate, Name: r.Name, RegistryUID: r.UID, Scope: scopeTenant,
		},
		Status: &wire.HelmRegistryStatus{HelmSyncStatus: unsynced()},
	}, nil
}

func getHelm(a *API, c *call) (any, error) {
	r, err := userRegistry(c, a.Store, c.param("uid"), lazuli.RegistryHelm)
	if err != nil {
		return nil, err
	}
	return a.showHelm(c, r)
}

// registryPage pages the registries of a type.
func registryPage[T any](a *API, c *call, t lazuli.RegistryType, render func(*lazuli.Registry) (T, error)) (any, error) {
	w, err := c.window()
	if err != nil {
		return nil, err
	}
	all, err := a.registriesOf(c, t)
	if err != nil {
		return nil, err
	}
	page, meta, err := cut(w, all)
	if err != nil {
		return nil, err
	}
	items := make([]T, 0, len(page))
	for i := range page {
		item, err := render(&page[i])
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return palette.NewList(items, meta), nil
}

// listHelm never tells secrets: who wants them reads one registry.
func listHelm(a *API, c *call) (any, error) {
	return registryPage(a, c, lazuli.RegistryHelm, func(r *lazuli.Registry) (wire.HelmRegistry, error) {
		out, err := a.showHelm(c, r)
		if err == nil {
			hideSecrets(&out.Spec.Auth)
		}
		return out, err
	})
}

func hideSecrets(auth *wire.RegistryAuth) {
	auth.Password, auth.Token = "", ""
	if auth.TLS != nil {
		auth.TLS.Key = ""
	}
}

func listHelmSummaries(a *API, c *call) (any, error) {
	return registryPage(a, c, lazuli.RegistryHelm, func(r *lazuli.Registry) (wire.HelmRegistrySummary, error) {
		s, err := specOf(r)
		if err != nil {
			return wire.HelmRegistrySummary{}, err
		}
		return wire.HelmRegistrySummary{
			Metadata: wireMeta(&r.Meta),
			Spec:     &wire.HelmRegistrySpecSummary{Endpoint: s.Endpoint, IsPrivate: s.IsPrivate, Scope: scopeTenant},
			Status:   &wire.HelmRegistryStatusSummary{Sync: unsynced()},
		}, nil
	})
}

func getOCI(a *API, c *call) (any, error) {
	r, err := userRegistry(c, a.Store, c.param("uid"), lazuli.RegistryOCI)
	if err != nil {
		return nil, err
	}
	s, err := a.shownSpec(c, r)
	if err != nil {
		return nil, err
	}
	if s.Auth.TLS == nil {
		s.Auth.TLS = &wire.TLSConfiguration{} // clients dereference it without a look
	}
	// Here the wire asks for the user's own choice, which Terraform compares; that
	// nothing is read stands in the message and in the status of its own.
	status := unsynced()
	status.IsSyncSupported = s.IsSyncSupported
	return wire.BasicOCIRegistry{
		Kind: kindOCIRegistry, Metadata: wireMeta(&r.Meta),
		Spec: &wire.BasicOCIRegistrySpec{
			Auth: s.Auth, BaseContentPath: s.BaseContentPath, BasePath: s.BasePath, ContainsSpectroManifest: s.ContainsSpectroPackage,
			Endpoint: s.Endpoint, IsSyncSupported: s.IsSyncSupported,
			ProviderType: wire.BasicOCIRegistrySpecProviderType(orElse(s.ProviderType, kindHelmRegistry)),
			RegistryUID:  r.UID, Scope: scopeTenant,
		},
		Status: &wire.OCIRegistryStatus{SyncStatus: status},
	}, nil
}

func getOCIEntity(a *API, c *call) (any, error) {
	r, err := userRegistry(c, a.Store, c.param("uid"), lazuli.RegistryOCI)
	if err != nil {
		return nil, err
	}
	s, err := a.shownSpec(c, r)
	if err != nil {
		return nil, err
	}
	return wire.OCIRegistryEntity{
		Auth: &s.Auth, Endpoint: s.Endpoint, ProviderType: orElse(s.ProviderType, kindHelmRegistry), Scope: scopeTenant, Type: registryTypeOCI,
	}, nil
}

func listOCI(a *API, c *call) (any, error) {
	all, err := a.registriesOf(c, lazuli.RegistryOCI)
	if err != nil {
		return nil, err
	}
	out := wire.OCIRegistries{Items: []wire.OCIRegistry{}}
	for i := range all {
		s, err := specOf(&all[i])
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, wire.OCIRegistry{
			Metadata: wireMeta(&all[i].Meta),
			Spec: &wire.OCIRegistrySpec{
				ContainsSpectroManifest: s.ContainsSpectroPackage, Endpoint: s.Endpoint, IsPrivate: s.private(),
				ProviderType: orElse(s.ProviderType, kindHelmRegistry), RegistryType: registryTypeOCI, Scope: scopeTenant,
			},
			Status: &wire.OCIRegistryStatusSummary{Sync: unsynced()},
		})
	}
	return out, nil
}

// builtinSync says that the built-in registry can be searched: it is part of the
// program, so it is always up to date.
func builtinSync() *wire.RegistrySyncStatus {
	return &wire.RegistrySyncStatus{IsSyncSupported: true, Status: syncCompleted}
}

func (a *API) builtinMeta() *wire.ObjectMeta {
	return &wire.ObjectMeta{
		Annotations: map[string]string{palette.AnnotationScope: scopeSystem}, Name: a.Packs.Name(), UID: a.Packs.UID(),
	}
}

func (a *API) builtinRegistry() wire.PackRegistry {
	return wire.PackRegistry{
		Kind: kindPackRegistry, Metadata: a.builtinMeta(),
		Spec: &wire.PackRegistrySpec{
			Auth: wire.RegistryAuth{Type: authNone}, Endpoint: builtinEndpoint, Name: a.Packs.Name(), RegistryUID: a.Packs.UID(), Scope: scopeSystem,
		},
		Status: &wire.PackRegistryStatus{PackSyncStatus: builtinSync()},
	}
}

func listPackRegistries(a *API, c *call) (any, error) {
	w, err := c.window()
	if err != nil {
		return nil, err
	}
	page, meta, err := cut(w, []wire.PackRegistry{a.builtinRegistry()})
	return palette.NewList(page, meta), err
}

func listPackRegistrySummaries(a *API, c *call) (any, error) {
	w, err := c.window()
	if err != nil {
		return nil, err
	}
	page, meta, err := cut(w, []wire.PackRegistrySummary{{
		Metadata: a.builtinMeta(),
		Spec:     &wire.PackRegistrySpecSummary{Endpoint: builtinEndpoint, Scope: scopeSystem},
		Status:   &wire.PackRegistryStatusSummary{Sync: builtinSync()},
	}})
	return palette.NewList(page, meta), err
}

func getPackRegistry(a *API, c *call) (any, error) {
	if err := a.registry(c.param("uid")); err != nil {
		return nil, err
	}
	return a.builtinRegistry(), nil
}

func getRegistrySync(a *API, c *call) (any, error) {
	if err := a.registry(c.param("uid")); err != nil {
		return nil, err
	}
	return builtinSync(), nil
}
