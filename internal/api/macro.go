// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/store"
	"github.com/lazuli-dev/lazuli/internal/wire"
)

// Bounds of macros.
const (
	maxMacros     = 1000
	maxMacroValue = 64 << 10 // bytes
)

var macroName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,127}$`)

func macroRoutes() []route {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	const project, tenant = "/v1/projects/{uid}/macros", "/v1/tenants/{tenantUid}/macros"
	out := []route{
		{Method: get, Pattern: "/v1/clusterprofiles/macros", Operation: "v1MacrosList", Permission: auth.MacroList, Status: ok, Handle: listMacros},
	}
	for pattern, id := range map[string]string{project: "v1ProjectsUidMacros", tenant: "v1TenantsUidMacros"} {
		out = append(out,
			route{Method: get, Pattern: pattern, Operation: id + "List", Permission: auth.MacroList, Status: ok, Handle: getMacros},
			route{Method: post, Pattern: pattern, Operation: id + "Create", Permission: auth.MacroCreate, Status: noContent, Body: maxBody, Mutates: true, Handle: createMacros},
			route{Method: put, Pattern: pattern, Operation: id + "Update", Permission: auth.MacroUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: replaceMacros},
			route{Method: patch, Pattern: pattern, Operation: id + "UpdateByMacroName", Permission: auth.MacroUpdate, Status: noContent, Body: maxBody, Mutates: true, Handle: patchMacros},
			route{Method: del, Pattern: pattern, Operation: id + "DeleteByMacroName", Permission: auth.MacroDelete, Status: noContent, Body: maxBody, Mutates: true, Handle: deleteMacros},
		)
	}
	slices.SortFunc(out, func(x, y route) int { return strings.Compare(x.Operation, y.Operation) })
	return out
}

// macroScope is the project whose macros a request is about, "" for the
// tenant's.
func (a *API) macroScope(c *call) (string, error) {
	if uid := c.param("tenantUid"); uid != "" {
		var t lazuli.Tenant
		err := a.Store.ByUnique(c.ctx(), lazuli.TenantUnique, &t)
		switch {
		case lazuli.CodeOf(err) == lazuli.CodeNotFound, err == nil && t.UID != uid:
			return "", notFound(lazuli.KindTenant, uid)
		case err != nil:
			return "", fmt.Errorf("read the tenant: %w", err)
		}
		return "", c.mayChange("")
	}
	uid := c.param("uid")
	if _, err := get[lazuli.Project](c.ctx(), a.Store, c, uid); err != nil {
		return "", err
	}
	return uid, c.mayChange(uid)
}

// macros reads the macros of one scope; none is an empty object.
func macros(ctx context.Context, r store.Reader, project string) (*lazuli.Macros, error) {
	m := &lazuli.Macros{}
	err := r.ByUnique(ctx, lazuli.MacrosUnique(project), m)
	if err != nil && lazuli.CodeOf(err) != lazuli.CodeNotFound {
		return nil, fmt.Errorf("read macros: %w", err)
	}
	return m, nil
}

// macrosOf are the macros that hold in a project, by name.
func (a *API) macrosOf(ctx context.Context, r store.Reader, project string) (map[string]string, error) {
	tenant, err := macros(ctx, r, "")
	if err != nil {
		return nil, err
	}
	own := &lazuli.Macros{}
	if project != "" {
		if own, err = macros(ctx, r, project); err != nil {
			return nil, err
		}
	}
	return pack.MergeMacros(tenant.Macros, own.Macros), nil
}

func showMacros(list []lazuli.Macro) wire.Macros {
	out := wire.Macros{Macros: make([]wire.Macro, 0, len(list))}
	for _, m := range list {
		out.Macros = append(out.Macros, wire.Macro{Name: m.Name, Value: m.Value})
	}
	return out
}

func getMacros(a *API, c *call) (any, error) {
	project, err := a.macroScope(c)
	if err != nil {
		return nil, err
	}
	m, err := macros(c.ctx(), a.Store, project)
	if err != nil {
		return nil, err
	}
	return showMacros(m.Macros), nil
}

// listMacros are the macros that a profile of the scope may use.
func listMacros(a *API, c *call) (any, error) {
	project, err := a.scope(c)
	if err != nil {
		return nil, err
	}
	all, err := a.macrosOf(c.ctx(), a.Store, project)
	if err != nil {
		return nil, err
	}
	out := make([]lazuli.Macro, 0, len(all))
	for _, name := range sortedKeys(all) {
		out = append(out, lazuli.Macro{Name: name, Value: all[name]})
	}
	return showMacros(out), nil
}

func createMacros(a *API, c *call) (any, error) {
	return nil, a.changeMacros(c, func(old, in []lazuli.Macro) ([]lazuli.Macro, error) {
		for _, m := range in {
			if slices.ContainsFunc(old, func(o lazuli.Macro) bool { return o.Name == m.Name }) {
				return nil, &lazuli.Error{
					Code: CodeMacroTaken, Message: fmt.Sprintf("there is a macro %q already in this scope", m.Name),
				}
			}
		}
		return append(old, in...), nil
	})
}

func replaceMacros(a *API, c *call) (any, error) {
	return nil, a.changeMacros(c, func(_, in []lazuli.Macro) ([]lazuli.Macro, error) { return in, nil })
}

// patchMacros changes macros by name; a name that there is not is an error, so
// that a misspelt one is noticed.
func patchMacros(a *API, c *call) (any, error) {
	return nil, a.changeMacros(c, func(old, in []lazuli.Macro) ([]lazuli.Macro, error) {
		for _, m := range in {
			i := slices.IndexFunc(old, func(o lazuli.Macro) bool { return o.Name == m.Name })
			if i < 0 {
				return nil, lazuli.Errorf(lazuli.CodeNotFound, "there is no macro %q in this scope", m.Name)
			}
			old[i].Value = m.Value
		}
		return old, nil
	})
}

// deleteMacros removes macros by name, whatever value a request gives them; a
// name that there is not is gone already.
func deleteMacros(a *API, c *call) (any, error) {
	return nil, a.changeMacros(c, func(old, in []lazuli.Macro) ([]lazuli.Macro, error) {
		return slices.DeleteFunc(old, func(o lazuli.Macro) bool {
			return slices.ContainsFunc(in, func(m lazuli.Macro) bool { return m.Name == o.Name })
		}), nil
	})
}

// changeMacros changes the macros of a scope, and wakes the engine for the
// clusters that use any.
func (a *API) changeMacros(c *call, change func(old, in []lazuli.Macro) ([]lazuli.Macro, error)) error {
	var body wire.Macros
	if err := decode(c.body, &body); err != nil {
		return err
	}
	project, err := a.macroScope(c)
	if err != nil {
		return err
	}
	in, err := checkMacros(body.Macros)
	if err != nil {
		return err
	}
	uid, err := a.newUID()
	if err != nil {
		return err
	}
	return a.Store.Update(c.ctx(), func(tx store.Tx) error { //nolint:wrapcheck // says all
		m, err := macros(c.ctx(), tx, project)
		if err != nil {
			return err
		}
		if m.Macros, err = change(m.Macros, in); err != nil {
			return err
		}
		if len(m.Macros) > maxMacros {
			var f lazuli.Fields
			f.Add("macros", "the scope would have %d macros, more than %d", len(m.Macros), maxMacros)
			return f.Err()
		}
		if m.UID == "" {
			m.Meta = lazuli.Meta{UID: uid, Name: string(lazuli.KindMacros), Project: project}
			err = tx.Create(c.ctx(), m)
		} else {
			err = tx.Update(c.ctx(), m)
		}
		if err != nil {
			return fmt.Errorf("store macros: %w", err)
		}
		if err := wakeUsers(c.ctx(), tx, project); err != nil {
			return err
		}
		return tx.AppendAudit(c.ctx(), c.audit(lazuli.KindMacros, m.UID, project))
	})
}

// wakeUsers has the engine look at the clusters whose packs refer to macros.
func wakeUsers(ctx context.Context, tx store.Tx, project string) error {
	where := []store.Where{{Field: store.FieldState, Op: store.NotEq, Value: string(lazuli.StateDeleted)}}
	if project != "" {
		where = append(where, store.Where{Field: store.FieldProject, Op: store.Eq, Value: project})
	}
	page, err := tx.Query(ctx, store.Query{Kind: lazuli.KindCluster, Where: where})
	if err != nil {
		return fmt.Errorf("look for clusters that use macros: %w", err)
	}
	for _, row := range page.Rows {
		if !strings.Contains(string(row.Data), ".spectro.macro.") {
			continue
		}
		if err := tx.Touch(ctx, store.WorkKey{Kind: lazuli.KindCluster, ID: row.Meta.UID}, time.Time{}); err != nil {
			return fmt.Errorf("wake the engine for cluster %s: %w", row.Meta.UID, err)
		}
	}
	return nil
}

func checkMacros(in []wire.Macro) ([]lazuli.Macro, error) {
	var f lazuli.Fields
	if len(in) > maxMacros {
		f.Add("macros", "has more than %d entries", maxMacros)
		return nil, f.Err()
	}
	out := make([]lazuli.Macro, 0, len(in))
	seen := map[string]bool{}
	for i, m := range in {
		at := fmt.Sprintf("macros[%d].", i)
		switch {
		case !macroName.MatchString(m.Name):
			f.Add(at+"name", "%q: letters, digits, points, hyphens and underscores only, a letter or underscore first, at most 128", shorten(m.Name))
		case seen[m.Name]:
			f.Add(at+"name", "%q is twice", m.Name)
		}
		switch {
		case len(m.Value) > maxMacroValue:
			f.Add(at+"value", "is longer than %d bytes", maxMacroValue)
		case !utf8.ValidString(m.Value) || strings.ContainsRune(m.Value, 0):
			f.Add(at+"value", "holds NUL or invalid UTF-8")
		case strings.Contains(m.Value, "{{") && strings.Contains(m.Value, ".spectro."):
			f.Add(at+"value", "refers to a variable or macro itself, which is not resolved a second time")
		}
		seen[m.Name] = true
		out = append(out, lazuli.Macro{Name: m.Name, Value: m.Value})
	}
	return out, f.Err()
}
