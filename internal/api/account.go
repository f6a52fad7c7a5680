// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

var (
	guidPattern   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	domainPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.)+[A-Za-z]{2,63}$`)
)

const (
	maxSecretLength = 512
	maxDomainLength = 253
	maxCertificate  = 64 << 10 // bytes
)

func accountRoutes() []route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	const account = "/v1/cloudaccounts/azure"
	return []route{
		{Method: post, Pattern: "/v1/clouds/azure/account/validate", Operation: "V1AzureAccountValidate", Permission: auth.CloudAccountCreate, Status: noContent, Body: maxBody, Handle: validateAccount},
		{Method: post, Pattern: account, Operation: "v1CloudAccountsAzureCreate", Permission: auth.CloudAccountCreate, Status: created, Body: maxBody, Mutates: true, Handle: createAccount},
		{Method: get, Pattern: account, Operation: "v1CloudAccountsAzureList", Permission: auth.CloudAccountList, Status: ok, Handle: listAccounts},
		{Method: get, Pattern: account + "/{uid}", Operation: "v1CloudAccountsAzureGet", Permission: auth.CloudAccountGet, Status: ok, Handle: getAccount},
		{Method: put, Pattern: account + "/{uid}", Operation: "v1CloudAccountsAzureUpdate", Permission: auth.CloudAccountUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: updateAccount},
		{Method: del, Pattern: account + "/{uid}", Operation: "v1CloudAccountsAzureDelete", Permission: auth.CloudAccountDelete, Status: noContent, Mutates: true, Handle: deleteAccount},
		{Method: get, Pattern: "/v1/cloudaccounts/summary", Operation: "v1CloudAccountsListSummary", Permission: auth.CloudAccountList, Status: ok, Handle: listAccountSummaries},
	}
}

// validateAccount signs in with the credentials of a request and keeps nothing.
func validateAccount(a *API, c *call) (any, error) {
	var in palette.AzureCloudAccount
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	var f lazuli.Fields
	a.checkAccountSpec(&f, "", &in, true)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return nil, a.checkCredentials(c.ctx(), credentialsOf(&in))
}

func credentialsOf(in *palette.AzureCloudAccount) AzureCredentials {
	return AzureCredentials{
		Environment: orElse(in.AzureEnvironment, palette.EnvironmentPublic),
		TenantID:    in.TenantID, ClientID: in.ClientID, ClientSecret: lazuli.NewSecret(in.ClientSecret),
	}
}

func (a *API) checkCredentials(ctx context.Context, cr AzureCredentials) error {
	ctx, cancel := context.WithTimeout(ctx, proberTimeout)
	defer cancel()
	if err := a.Prober.CheckAccount(ctx, cr); err != nil {
		return fmt.Errorf("check the account: %w", asProbeError(err))
	}
	return nil
}

// asProbeError names the time-out of a Prober.
func asProbeError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &lazuli.Error{
			Code: lazuli.CodeAzureUnreachable, Message: "Azure did not answer within " + proberTimeout.String(), Err: err,
		}
	}
	return err
}

// noAnswer reports whether a Prober's error says nothing about what was asked.
func noAnswer(err error) bool {
	switch lazuli.CodeOf(err) {
	case lazuli.CodeAzureUnreachable, lazuli.CodeAzureThrottled, lazuli.CodeUnavailable:
		return true
	default:
		return errors.Is(err, context.DeadlineExceeded)
	}
}

// checkAccountSpec checks an account's fields; prefix is "spec." or "".
func (a *API) checkAccountSpec(f *lazuli.Fields, prefix string, in *palette.AzureCloudAccount, needSecret bool) {
	if env := in.AzureEnvironment; env != "" && !slices.Contains(a.Environments, env) {
		f.Add(prefix+"azureEnvironment", "%q is not served; it is one of %s", shorten(env), strings.Join(a.Environments, ", "))
	}
	switch {
	case in.TenantID == "":
		f.Add(prefix+"tenantId", "is required: the Directory (tenant) ID")
	case !guidPattern.MatchString(in.TenantID) && (len(in.TenantID) > maxDomainLength || !domainPattern.MatchString(in.TenantID)):
		f.Add(prefix+"tenantId", "%q is neither a GUID nor a domain of the tenant", shorten(in.TenantID))
	}
	if !guidPattern.MatchString(in.ClientID) {
		f.Add(prefix+"clientId", "%q is not the Application (client) ID, a GUID", shorten(in.ClientID))
	}
	// The value is not repeated: it is a secret even when it is no good one.
	switch s := in.ClientSecret; {
	case s == "" && needSecret:
		f.Add(prefix+"clientSecret", "is required: the Value of a client secret of the application")
	case len(s) > maxSecretLength || strings.ContainsAny(s, "\r\n\t"):
		f.Add(prefix+"clientSecret", "cannot be a client secret: it has line breaks, or more than %d bytes", maxSecretLength)
	}
	checkText(f, prefix+"tenantName", in.TenantName, maxTextLength)
	if in.TLS != nil && len(in.TLS.Cert) > maxCertificate {
		f.Add(prefix+"tls.cert", "is longer than %d bytes", maxCertificate)
	}
}

// checkAccountBody checks all of an account but what Azure says to it.
func (a *API) checkAccountBody(in *palette.AzureAccount, needSecret bool) (map[string]string, error) {
	var f lazuli.Fields
	checkTitle(&f, in.Metadata.Name)
	ann := annotations(&f, &in.Metadata)
	if in.Metadata.Annotations[palette.AnnotationGateway] != "" {
		f.Add("metadata.annotations.overlordUid", "private gateways are not served: leave it empty")
	}
	switch s := in.Metadata.Annotations[palette.AnnotationScope]; s {
	case "", palette.ScopeProject, palette.ScopeTenant:
	default:
		f.Add("metadata.annotations.scope", "%q is neither project nor tenant", shorten(s))
	}
	if in.Spec == nil {
		f.Add("spec", "is required")
		return nil, f.Err()
	}
	a.checkAccountSpec(&f, "spec.", in.Spec, needSecret)
	return ann, f.Err()
}

func createAccount(a *API, c *call) (any, error) {
	var in palette.AzureAccount
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	ann, err := a.checkAccountBody(&in, true)
	if err != nil {
		return nil, err
	}
	project, err := a.accountScope(c, &in.Metadata)
	if err != nil {
		return nil, err
	}
	acc := &lazuli.Account{Meta: lazuli.Meta{
		Name: in.Metadata.Name, Project: project, Labels: in.Metadata.Labels, Annotations: ann,
	}}
	if uid, err := repeated(a, c, acc); uid != "" || err != nil {
		return palette.UID{UID: uid}, err
	}
	probe := a.checkCredentials(c.ctx(), credentialsOf(in.Spec))
	if probe != nil && !noAnswer(probe) {
		return nil, probe
	}
	if acc.UID, err = a.newUID(); err != nil {
		return nil, err
	}
	if err := a.fillAccount(acc, in.Spec); err != nil {
		return nil, err
	}
	uid, err := createOnce(a, c, acc, func(tx store.Tx) error {
		return errors.Join(
			a.event(c, tx, acc, lazuli.SeverityInfo, "AccountCreated", "The account was registered by "+c.actor.Name+"."),
			a.unprobed(c, tx, acc, probe), a.unusedCertificate(c, tx, acc),
			tx.AppendAudit(c.ctx(), c.audit(lazuli.KindAccount, acc.UID, acc.Project)))
	})
	return palette.UID{UID: uid}, err
}

// accountScope is where an account goes: its own annotation decides, and the
// header says which project. Terraform may send a project's account without
// the header when tenant and project objects are made at once; where there is
// but one project, that one is meant.
func (a *API) accountScope(c *call, m *palette.ObjectMeta) (string, error) {
	project, err := a.scope(c)
	if err != nil {
		return "", err
	}
	switch m.Annotations[palette.AnnotationScope] {
	case palette.ScopeTenant:
		project = ""
	case palette.ScopeProject:
		if project == "" {
			if project, err = a.onlyProject(c); err != nil {
				return "", err
			}
		}
		if project == "" {
			var f lazuli.Fields
			f.Add("metadata.annotations.scope", "is project, and the header ProjectUid names none; "+
				"with Terraform, objects of tenant and project in one run need -parallelism=1")
			return "", f.Err()
		}
	}
	return project, c.mayChange(project)
}

// onlyProject is the project that the caller sees when it sees exactly one.
func (a *API) onlyProject(c *call) (string, error) {
	projects, err := visible[lazuli.Project](a, c, store.Query{})
	if err != nil || len(projects) != 1 {
		return "", err
	}
	return projects[0].UID, nil
}

func (a *API) fillAccount(acc *lazuli.Account, in *palette.AzureCloudAccount) error {
	acc.Environment = orElse(in.AzureEnvironment, palette.EnvironmentPublic)
	acc.TenantID, acc.TenantName, acc.ClientID = in.TenantID, in.TenantName, in.ClientID
	acc.DisablePropertiesRequest = in.Settings != nil && in.Settings.DisablePropertiesRequest
	acc.TLSCert = ""
	if in.TLS != nil {
		acc.TLSCert = in.TLS.Cert
	}
	if in.ClientSecret == "" {
		return nil
	}
	sealed, err := a.Seal.Seal([]byte(in.ClientSecret), lazuli.AccountAAD(acc.UID))
	if err != nil {
		return fmt.Errorf("seal the client secret: %w", err)
	}
	acc.ClientSecret = sealed
	return nil
}

// unusedCertificate records that the certificate of an account has no effect.
func (a *API) unusedCertificate(c *call, tx store.Tx, acc *lazuli.Account) error {
	if acc.TLSCert == "" {
		return nil
	}
	return a.event(c, tx, acc, lazuli.SeverityWarning, "FieldWithoutEffect",
		"spec.tls.cert is stored and not used: Azure is reached with the certificates that the hub's system trusts.")
}

// unprobed records that Azure could not be asked about an account.
func (a *API) unprobed(c *call, tx store.Tx, o lazuli.Object, probe error) error {
	if probe == nil {
		return nil
	}
	return a.event(c, tx, o, lazuli.SeverityWarning, "AzureNotAsked",
		"It was accepted without a check by Azure: "+asError(probe).Message+".")
}

func (a *API) event(
	c *call, tx store.Tx, o lazuli.Object, severity lazuli.Severity, reason, message string,
) error {
	m := o.Head()
	err := tx.AppendEvent(c.ctx(), lazuli.Event{
		Project: m.Project, Kind: o.Kind(), Object: m.UID, Name: m.Name,
		Severity: severity, Reason: reason, Message: message,
	})
	if err != nil {
		return fmt.Errorf("append event %s: %w", reason, err)
	}
	return nil
}

// nameIsFree answers early what Create would say later, so that Azure is not
// asked in vain.
func nameIsFree[T any, P object[T]](ctx context.Context, r store.Reader, o P) error {
	err := r.ByUnique(ctx, o.Index().Unique, P(new(T)))
	switch {
	case err == nil:
		return nameTaken(lazuli.Errorf(lazuli.CodeDuplicateName, "taken"), o.Head().Name)
	case lazuli.CodeOf(err) == lazuli.CodeNotFound:
		return nil
	default:
		return fmt.Errorf("look whether the name of the %s is free: %w", o.Kind(), err)
	}
}

// nameTaken says which field is at fault for a DuplicateName.
func nameTaken(err error, name string) error { return taken(err, titlePath, name) }

func taken(err error, path, name string) error {
	if lazuli.CodeOf(err) != lazuli.CodeDuplicateName {
		return err
	}
	return &lazuli.Error{
		Code:    lazuli.CodeDuplicateName,
		Message: fmt.Sprintf("%s: the name %q is taken", path, shorten(name)),
		Fields:  lazuli.Fields{{Path: path, Message: "is taken"}},
	}
}

func listAccounts(a *API, c *call) (any, error) {
	return accountList(a, c, palette.Account)
}

func listAccountSummaries(a *API, c *call) (any, error) {
	return accountList(a, c, palette.AccountSummary)
}

func accountList[T any](a *API, c *call, render func(*lazuli.Account) T) (any, error) {
	page, meta, err := usablePage[lazuli.Account](a, c, store.Query{Sort: store.FieldName})
	if err != nil {
		return nil, err
	}
	items := make([]T, 0, len(page))
	for i := range page {
		items = append(items, render(&page[i]))
	}
	return palette.NewList(items, meta), nil
}

func getAccount(a *API, c *call) (any, error) {
	acc, err := get[lazuli.Account](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	return palette.Account(acc), nil
}

func updateAccount(a *API, c *call) (any, error) {
	var in palette.AzureAccount
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	old, err := getToChange[lazuli.Account](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	ann, err := a.checkAccountBody(&in, false)
	if err != nil {
		return nil, err
	}
	cr := credentialsOf(in.Spec)
	if cr.ClientSecret.Empty() {
		if cr.ClientSecret, err = a.secretOf(old); err != nil {
			return nil, err
		}
	}
	probe := a.checkCredentials(c.ctx(), cr)
	if probe != nil && !noAnswer(probe) {
		return nil, probe
	}
	err = a.Store.Update(c.ctx(), func(tx store.Tx) error {
		acc, err := getToChange[lazuli.Account](c.ctx(), tx, c, old.UID)
		if err != nil {
			return err
		}
		if err := a.rescope(c, tx, acc, &in.Metadata); err != nil {
			return err
		}
		acc.Name, acc.Labels, acc.Annotations = in.Metadata.Name, in.Metadata.Labels, ann
		if err := a.fillAccount(acc, in.Spec); err != nil {
			return err
		}
		if err := tx.Update(c.ctx(), acc); err != nil {
			return fmt.Errorf("update account %s: %w", acc.UID, err)
		}
		return errors.Join(
			a.event(c, tx, acc, lazuli.SeverityInfo, "AccountUpdated", "The account was changed by "+c.actor.Name+"."),
			a.unprobed(c, tx, acc, probe), a.unusedCertificate(c, tx, acc),
			tx.AppendAudit(c.ctx(), c.audit(lazuli.KindAccount, acc.UID, acc.Project)))
	})
	return nil, nameTaken(err, in.Metadata.Name)
}

// rescope moves an account between a project and the tenant when its scope
// annotation says so. Narrowing would take it from clusters of other projects,
// so that needs an account that nothing uses.
func (a *API) rescope(c *call, tx store.Tx, acc *lazuli.Account, m *palette.ObjectMeta) error {
	switch want := m.Annotations[palette.AnnotationScope]; {
	case want == palette.ScopeTenant && acc.Project != "":
		acc.Project = ""
	case want == palette.ScopeProject && acc.Project == "":
		project, err := a.accountScope(c, m)
		if err != nil {
			return err
		}
		if err := accountIsFree(c.ctx(), tx, acc); err != nil {
			return err
		}
		acc.Project = project
	}
	return c.mayChange(acc.Project)
}

// secretOf opens the client secret of an account.
func (a *API) secretOf(acc *lazuli.Account) (lazuli.Secret, error) {
	plain, err := a.Seal.Unseal(acc.ClientSecret, lazuli.AccountAAD(acc.UID))
	if err != nil {
		return lazuli.Secret{}, fmt.Errorf("open the client secret of account %s: %w", acc.UID, err)
	}
	return lazuli.NewSecret(string(plain)), nil
}

func deleteAccount(a *API, c *call) (any, error) {
	return nil, a.Store.Update(c.ctx(), func(tx store.Tx) error {
		acc, err := getToChange[lazuli.Account](c.ctx(), tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		if err := accountIsFree(c.ctx(), tx, acc); err != nil {
			return err
		}
		if err := tx.Delete(c.ctx(), lazuli.KindAccount, acc.UID); err != nil {
			return fmt.Errorf("delete account %s: %w", acc.UID, err)
		}
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindAccount, acc.UID, acc.Project))
	})
}

// accountIsFree refuses while a cluster that is not Deleted uses the account.
func accountIsFree(ctx context.Context, r store.Reader, acc *lazuli.Account) error {
	page, err := r.Query(ctx, store.Query{Kind: lazuli.KindCluster, Limit: 1, Where: []store.Where{
		{Field: store.FieldOwner, Op: store.Eq, Value: acc.UID},
		{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)},
	}})
	if err != nil {
		return fmt.Errorf("look for clusters of account %s: %w", acc.UID, err)
	}
	if len(page.Rows) > 0 {
		return lazuli.Errorf(lazuli.CodeInUse, "account %q is used by cluster %q", acc.Name, page.Rows[0].Meta.Name)
	}
	return nil
}
