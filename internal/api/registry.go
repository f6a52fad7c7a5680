// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// Words of the wire about registries.
const (
	kindPackRegistry = "pack"
	kindHelmRegistry = "helm"
	kindOCIRegistry  = "oci"
	registryTypeOCI  = "basic" // with a user and a password; the other form, ecr, is not served

	scopeSystem = "system"
	scopeTenant = "tenant"

	authNone  = "noAuth"
	authBasic = "basic"
	authToken = "token"

	syncCompleted = "Completed"
	syncNever     = "NotSynchronized"
	// syncMessage says what a registry of the user's is good for.
	syncMessage = "The hub does not read this registry: name and version of its charts are taken as they are written into a profile."
	// builtinEndpoint stands for the registry that is part of the program.
	builtinEndpoint = "builtin://packs"

	maxEndpointLength = 2048
	maxCredential     = 64 << 10 // bytes; certificates are among them
)

func registryRoutes() []route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	const helm, oci, packs = "/v1/registries/helm", "/v1/registries/oci", "/v1/registries/pack"
	const one, basic = oci + "/{uid}", oci + "/{uid}/basic"
	accepted := http.StatusAccepted
	return []route{
		{Method: get, Pattern: "/v1/registries/metadata", Operation: "v1RegistriesMetadata", Permission: auth.PackRegistryList, Status: ok, Handle: listRegistries},

		{Method: get, Pattern: helm, Operation: "v1RegistriesHelmList", Permission: auth.PackRegistryList, Status: ok, Handle: listHelm},
		{Method: post, Pattern: helm, Operation: "v1RegistriesHelmCreate", Permission: auth.PackRegistryCreate, Status: created, Body: maxBody, Mutates: true, Handle: createHelm},
		{Method: get, Pattern: helm + "/summary", Operation: "v1RegistriesHelmSummaryList", Permission: auth.PackRegistryList, Status: ok, Handle: listHelmSummaries},
		{Method: post, Pattern: helm + "/validate", Operation: "V1RegistriesHelmValidate", Permission: auth.PackRegistryCreate, Status: noContent, Body: maxBody, Handle: validateHelm},
		{Method: get, Pattern: helm + "/{uid}", Operation: "v1RegistriesHelmUidGet", Permission: auth.PackRegistryGet, Status: ok, Handle: getHelm},
		{Method: put, Pattern: helm + "/{uid}", Operation: "v1RegistriesHelmUidUpdate", Permission: auth.PackRegistryUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updateHelm},
		{Method: del, Pattern: helm + "/{uid}", Operation: "v1RegistriesHelmUidDelete", Permission: auth.PackRegistryDelete, Status: noContent, Mutates: true, Handle: deleteHelm},
		{Method: post, Pattern: helm + "/{uid}/sync", Operation: "v1RegistriesHelmUidSync", Permission: auth.PackRegistryUpdate, Status: accepted, Mutates: true, Handle: syncHelm},
		{Method: get, Pattern: helm + "/{uid}/sync/status", Operation: "v1RegistriesHelmUidSyncStatus", Permission: auth.PackRegistryGet, Status: ok, Handle: getHelmSync},

		{Method: post, Pattern: oci + "/basic", Operation: "v1BasicOciRegistriesCreate", Permission: auth.PackRegistryCreate, Status: created, Body: maxBody, Mutates: true, Handle: createOCI},
		{Method: post, Pattern: oci + "/basic/validate", Operation: "v1BasicOciRegistriesValidate", Permission: auth.PackRegistryCreate, Status: noContent, Body: maxBody, Handle: validateOCI},
		{Method: get, Pattern: oci + "/summary", Operation: "v1OciRegistriesSummary", Permission: auth.PackRegistryList, Status: ok, Handle: listOCI},
		{Method: get, Pattern: one, Operation: "v1OciRegistriesGet", Permission: auth.PackRegistryGet, Status: ok, Handle: getOCIEntity},
		{Method: get, Pattern: basic, Operation: "v1BasicOciRegistriesUidGet", Permission: auth.PackRegistryGet, Status: ok, Handle: getOCI},
		{Method: put, Pattern: basic, Operation: "v1BasicOciRegistriesUidUpdate", Permission: auth.PackRegistryUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updateOCI},
		{Method: del, Pattern: basic, Operation: "v1BasicOciRegistriesUidDelete", Permission: auth.PackRegistryDelete, Status: noContent, Mutates: true, Handle: deleteOCI},
		{Method: post, Pattern: basic + "/sync", Operation: "v1BasicOciRegistriesUidSync", Permission: auth.PackRegistryUpdate, Status: accepted, Mutates: true, Handle: syncOCI},
		{Method: get, Pattern: basic + "/sync/status", Operation: "v1BasicOciRegistriesUidSyncStatus", Permission: auth.PackRegistryGet, Status: ok, Handle: getOCISync},

		{Method: get, Pattern: packs, Operation: "v1RegistriesPackList", Permission: auth.PackRegistryList, Status: ok, Handle: listPackRegistries},
		{Method: get, Pattern: packs + "/summary", Operation: "v1RegistriesPackSummaryList", Permission: auth.PackRegistryList, Status: ok, Handle: listPackRegistrySummaries},
		{Method: get, Pattern: packs + "/{uid}", Operation: "v1RegistriesPackUidGet", Permission: auth.PackRegistryGet, Status: ok, Handle: getPackRegistry},
		{Method: get, Pattern: packs + "/{uid}/sync/status", Operation: "v1RegistriesPackUidSyncStatus", Permission: auth.PackRegistryGet, Status: ok, Handle: getRegistrySync},
	}
}

// registries are those that users added, by name.
func (a *API) registries(c *call) ([]lazuli.Registry, error) {
	all, _, err := query[lazuli.Registry](c.ctx(), a.Store, store.Query{Sort: store.FieldName})
	return all, err
}

// registriesOf are those of one type.
func (a *API) registriesOf(c *call, t lazuli.RegistryType) ([]lazuli.Registry, error) {
	all, _, err := query[lazuli.Registry](c.ctx(), a.Store, store.Query{
		Sort: store.FieldName, Where: []store.Where{{Field: store.FieldState, Op: store.Eq, Value: string(t)}},
	})
	return all, err
}

// userRegistry reads a registry of a type.
func userRegistry(c *call, rd store.Reader, uid string, t lazuli.RegistryType) (*lazuli.Registry, error) {
	var r lazuli.Registry
	if !lazuli.ValidUID(uid) {
		return nil, notFound(lazuli.KindRegistry, uid)
	}
	err := rd.Get(c.ctx(), uid, &r)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound, err == nil && r.Type != t:
		return nil, notFound(lazuli.KindRegistry, uid)
	case err != nil:
		return nil, fmt.Errorf("read registry %s: %w", uid, err)
	}
	return &r, nil
}

// listRegistries names all registries. Clients look one up by its name, so names
// are unique over all types.
func listRegistries(a *API, c *call) (any, error) {
	all, err := a.registries(c)
	if err != nil {
		return nil, err
	}
	items := []palette.RegistryMetadata{{
		IsDefault: true, Kind: kindPackRegistry, Name: a.Packs.Name(), Scope: scopeSystem, UID: a.Packs.UID(),
	}}
	for i := range all {
		s, err := specOf(&all[i])
		if err != nil {
			return nil, err
		}
		items = append(items, palette.RegistryMetadata{
			IsPrivate: s.private(), Kind: string(all[i].Type), Name: all[i].Name, Scope: scopeTenant, UID: all[i].UID,
		})
	}
	return palette.NewList(items, nil), nil
}

// registrySpec is what both types of registries say, in the wire's form.
type registrySpec struct {
	Auth                   wire.RegistryAuth `json:"auth"`
	BaseContentPath        string            `json:"baseContentPath,omitempty"`
	BasePath               string            `json:"basePath,omitempty"`
	ContainsSpectroPackage bool              `json:"containsSpectroManifest,omitempty"`
	Endpoint               string            `json:"endpoint"`
	IsPrivate              bool              `json:"isPrivate,omitempty"`
	IsSyncSupported        bool              `json:"isSyncSupported,omitempty"`
	Name                   string            `json:"name,omitempty"`
	ProviderType           string            `json:"providerType,omitempty"`
}

func (s *registrySpec) private() bool {
	return s.IsPrivate || s.Auth.Type == authBasic || s.Auth.Type == authToken
}

// specOf reads what is stored of a registry; its secrets are not in it.
func specOf(r *lazuli.Registry) (*registrySpec, error) {
	var s registrySpec
	if err := json.Unmarshal(r.Spec, &s); err != nil {
		return nil, fmt.Errorf("read registry %s: %w", r.UID, err)
	}
	return &s, nil
}

// shownSpec is specOf with the secrets for those who may change the registry:
// Terraform compares them with its configuration.
func (a *API) shownSpec(c *call, r *lazuli.Registry) (*registrySpec, error) {
	s, err := specOf(r)
	if err != nil {
		return nil, err
	}
	secrets, err := a.registrySecrets(r)
	if err != nil {
		return nil, err
	}
	if c.may(auth.PackRegistryUpdate, "") != nil {
		mask := func(s *string) {
			if *s != "" {
				*s = pack.MaskedValue
			}
		}
		mask(&secrets.Password)
		mask(&secrets.Token)
		mask(&secrets.TLSKey)
	}
	s.Auth.Password, s.Auth.Token = secrets.Password, secrets.Token
	if s.Auth.TLS != nil {
		s.Auth.TLS.Key = secrets.TLSKey
	}
	return s, nil
}

func (a *API) registrySecrets(r *lazuli.Registry) (lazuli.RegistrySecrets, error) {
	var out lazuli.RegistrySecrets
	if len(r.Secrets) == 0 {
		return out, nil
	}
	plain, err := a.Seal.Unseal(r.Secrets, lazuli.RegistryAAD(r.UID))
	if err != nil {
		return out, fmt.Errorf("open the secrets of registry %s: %w", r.UID, err)
	}
	if err := json.Unmarshal(plain, &out); err != nil {
		return out, fmt.Errorf("read the secrets of registry %s: %w", r.UID, err)
	}
	return out, nil
}

// fillRegistry puts a checked request into a registry, whose uid is set. A masked
// secret means the one that is there.
func (a *API) fillRegistry(r *lazuli.Registry, s *registrySpec) error {
	secrets, err := a.registrySecrets(r)
	if err != nil {
		return err
	}
	clean := *s
	take := func(stored, sent *string) {
		if *sent != pack.MaskedValue {
			*stored = *sent
		}
		*sent = ""
	}
	take(&secrets.Password, &clean.Auth.Password)
	take(&secrets.Token, &clean.Auth.Token)
	if s.Auth.TLS != nil {
		tls := *s.Auth.TLS
		clean.Auth.TLS = &tls
		take(&secrets.TLSKey, &tls.Key)
	} else {
		secrets.TLSKey = ""
	}
	if r.Spec, err = json.Marshal(clean); err != nil {
		return fmt.Errorf("encode registry %s: %w", r.UID, err)
	}
	r.Secrets = nil
	if secrets == (lazuli.RegistrySecrets{}) {
		return nil
	}
	plain, err := json.Marshal(secrets) //nolint:gosec // sealed in the next line
	if err != nil {
		return fmt.Errorf("encode the secrets of registry %s: %w", r.UID, err)
	}
	if r.Secrets, err = a.Seal.Seal(plain, lazuli.RegistryAAD(r.UID)); err != nil {
		return fmt.Errorf("seal the secrets of registry %s: %w", r.UID, err)
	}
	return nil
}

// checkRegistrySpec checks what needs no network. Values of secrets are not
// repeated.
func checkRegistrySpec(f *lazuli.Fields, prefix string, s *registrySpec, t lazuli.RegistryType) {
	switch u, err := url.Parse(s.Endpoint); {
	case s.Endpoint == "":
		f.Add(prefix+"endpoint", "is required")
	case len(s.Endpoint) > maxEndpointLength:
		f.Add(prefix+"endpoint", "is longer than %d bytes", maxEndpointLength)
	case err != nil || strings.ContainsAny(s.Endpoint, " \t\r\n"):
		f.Add(prefix+"endpoint", "is not a URL")
	case u.User != nil:
		f.Add(prefix+"endpoint", "has credentials in it; they belong into auth")
	case t == lazuli.RegistryHelm && u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "oci":
		f.Add(prefix+"endpoint", "%q is not a URL such as https://charts.example.com", shorten(s.Endpoint))
	}
	switch s.Auth.Type {
	case "", authNone:
	case authBasic:
		if s.Auth.Username == "" {
			f.Add(prefix+"auth.username", "is required for auth of type basic")
		}
	case authToken:
		if s.Auth.Token == "" {
			f.Add(prefix+"auth.token", "is required for auth of type token")
		}
	default:
		f.Add(prefix+"auth.type", "%q is none of noAuth, basic, token", shorten(string(s.Auth.Type)))
	}
	if p := s.ProviderType; p != "" && p != "helm" && p != "zarf" && p != "pack" {
		f.Add(prefix+"providerType", "%q is none of helm, zarf, pack", shorten(p))
	}
	for _, x := range []struct{ field, value string }{
		{"auth.username", s.Auth.Username}, {"baseContentPath", s.BaseContentPath}, {"basePath", s.BasePath},
	} {
		checkText(f, prefix+x.field, x.value, maxTextLength)
	}
	if len(s.Auth.Password) > maxCredential || len(s.Auth.Token) > maxCredential {
		f.Add(prefix+"auth", "has a secret longer than %d bytes", maxCredential)
	}
	if t := s.Auth.TLS; t != nil && (len(t.Ca) > maxCredential || len(t.Certificate) > maxCredential || len(t.Key) > maxCredential) {
		f.Add(prefix+"auth.tls", "has a text longer than %d bytes", maxCredential)
	}
}

// registryBody is a request about a registry of either type.
type registryBody struct {
	Metadata *palette.ObjectMeta `json:"metadata"`
	Spec     *registrySpec       `json:"spec"`
}

func readRegistry(c *call, t lazuli.RegistryType) (*registryBody, error) {
	var in registryBody
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	if in.Metadata == nil {
		f.Add("metadata", "is required")
	} else {
		checkTitle(&f, in.Metadata.Name)
		annotations(&f, in.Metadata)
	}
	if in.Spec == nil {
		f.Add("spec", "is required")
		return nil, f.Err()
	}
	checkRegistrySpec(&f, "spec.", in.Spec, t)
	return &in, f.Err()
}

func (a *API) createRegistry(c *call, t lazuli.RegistryType) (any, error) {
	in, err := readRegistry(c, t)
	if err != nil {
		return nil, err
	}
	if err := c.mayChange(""); err != nil { // registries are the tenant's
		return nil, err
	}
	r := &lazuli.Registry{Meta: lazuli.Meta{
		Name: in.Metadata.Name, Labels: in.Metadata.Labels, Annotations: annotations(&lazuli.Fields{}, in.Metadata),
	}, Type: t}
	if lazuli.Fold(r.Name) == lazuli.Fold(a.Packs.Name()) {
		return nil, nameTaken(lazuli.Errorf(lazuli.CodeDuplicateName, "taken"), r.Name)
	}
	if uid, err := repeated(a, c, r); uid != "" || err != nil {
		return palette.UID{UID: uid}, err
	}
	if r.UID, err = a.newUID(); err != nil {
		return nil, err
	}
	if err := a.fillRegistry(r, in.Spec); err != nil {
		return nil, err
	}
	uid, err := createOnce(a, c, r, func(tx store.Tx) error {
		return errors.Join(a.notSynced(c, tx, r), tx.AppendAudit(c.ctx(), c.audit(lazuli.KindRegistry, r.UID, "")))
	})
	return palette.UID{UID: uid}, err
}

// notSynced records that a registry is stored and not read.
func (a *API) notSynced(c *call, tx store.Tx, r *lazuli.Registry) error {
	return a.event(c, tx, r, lazuli.SeverityWarning, "RegistryNotRead", syncMessage)
}

func (a *API) updateRegistry(c *call, t lazuli.RegistryType) (any, error) {
	in, err := readRegistry(c, t)
	if err != nil {
		return nil, err
	}
	return nil, a.changeRegistry(c, t, func(_ store.Tx, r *lazuli.Registry) error {
		r.Name, r.Labels = in.Metadata.Name, in.Metadata.Labels
		r.Annotations = annotations(&lazuli.Fields{}, in.Metadata)
		if lazuli.Fold(r.Name) == lazuli.Fold(a.Packs.Name()) {
			return lazuli.Errorf(lazuli.CodeDuplicateName, "taken")
		}
		return a.fillRegistry(r, in.Spec)
	}, in.Metadata.Name)
}

// changeRegistry runs change on a registry inside one transaction.
func (a *API) changeRegistry(
	c *call, t lazuli.RegistryType, change func(store.Tx, *lazuli.Registry) error, name string,
) error {
	err := a.Store.Update(c.ctx(), func(tx store.Tx) error {
		r, err := registryToChange(c, tx, t)
		if err != nil {
			return err
		}
		if err := change(tx, r); err != nil {
			return err
		}
		if err := tx.Update(c.ctx(), r); err != nil {
			return fmt.Errorf("update registry %s: %w", r.UID, err)
		}
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindRegistry, r.UID, ""))
	})
	return nameTaken(err, name)
}

func registryToChange(c *call, tx store.Tx, t lazuli.RegistryType) (*lazuli.Registry, error) {
	r, err := getToChange[lazuli.Registry](c.ctx(), tx, c, c.param("uid"))
	if err == nil && r.Type != t {
		return nil, notFound(lazuli.KindRegistry, c.param("uid"))
	}
	return r, err
}

func (a *API) deleteRegistry(c *call, t lazuli.RegistryType) (any, error) {
	return nil, a.Store.Update(c.ctx(), func(tx store.Tx) error {
		r, err := registryToChange(c, tx, t)
		if err != nil {
			return err
		}
		profiles, _, err := query[lazuli.Profile](c.ctx(), tx, store.Query{})
		if err != nil {
			return err
		}
		for i := range profiles {
			for _, l := range append(profiles[i].Draft, profiles[i].Published...) {
				if l.RegistryUID == r.UID {
					return lazuli.Errorf(lazuli.CodeInUse, "registry %q is used by profile %q", r.Name, profiles[i].Name)
				}
			}
		}
		if err := tx.Delete(c.ctx(), lazuli.KindRegistry, r.UID); err != nil {
			return fmt.Errorf("delete registry %s: %w", r.UID, err)
		}
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindRegistry, r.UID, ""))
	})
}

// syncRegistry takes a request to read a registry anew. There is nothing to
// read, and the event says that.
func (a *API) syncRegistry(c *call, t lazuli.RegistryType) (any, error) {
	return nil, a.Store.Update(c.ctx(), func(tx store.Tx) error {
		r, err := registryToChange(c, tx, t)
		if err != nil {
			return err
		}
		return errors.Join(a.notSynced(c, tx, r), tx.AppendAudit(c.ctx(), c.audit(lazuli.KindRegistry, r.UID, "")))
	})
}

// syncStatus says honestly that nothing is read: clients take a registry whose
// synchronisation is not supported for ready.
func (a *API) syncStatus(c *call, t lazuli.RegistryType) (any, error) {
	if _, err := userRegistry(c, a.Store, c.param("uid"), t); err != nil {
		return nil, err
	}
	return unsynced(), nil
}

func unsynced() *wire.RegistrySyncStatus {
	return &wire.RegistrySyncStatus{Status: syncNever, Message: syncMessage}
}

func validateRegistry(c *call, t lazuli.RegistryType) (any, error) {
	var in registrySpec
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	checkRegistrySpec(&f, "", &in, t)
	return nil, f.Err()
}
