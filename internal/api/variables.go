// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/auth"
	"github.com/lazuli-dev/lazuli/internal/pack"
	"github.com/lazuli-dev/lazuli/internal/palette"
	"github.com/lazuli-dev/lazuli/internal/store"
)

// setVariables checks declarations and puts them into a profile, the defaults
// of sensitive ones sealed. A masked default means the one that is there.
func (a *API) setVariables(
	f *lazuli.Fields, at string, p *lazuli.Profile, raw json.RawMessage,
) ([]pack.Variable, error) {
	old, err := a.variableSecrets(p)
	if err != nil {
		return nil, err
	}
	raw, err = unmask(raw, old)
	if err != nil {
		f.Add(at, "is not a list of variables")
		return nil, nil //nolint:nilerr // the fault is recorded
	}
	vars, err := pack.ParseVariables(raw)
	if err != nil {
		f.Add(at, "is not a list of variables")
		return nil, nil //nolint:nilerr // the fault is recorded
	}
	for _, x := range pack.ValidateVariables(at, vars) {
		f.Add(x.Path, "%s", x.Message)
	}
	kept, secrets, err := pack.SplitSecrets(raw)
	if err != nil {
		return nil, fmt.Errorf("take the secrets out of variables: %w", err)
	}
	p.Variables, p.VariableSecrets = kept, nil
	if len(secrets) == 0 {
		return vars, nil
	}
	plain, err := json.Marshal(secrets)
	if err != nil {
		return nil, fmt.Errorf("encode the defaults of sensitive variables: %w", err)
	}
	if p.VariableSecrets, err = a.Seal.Seal(plain, lazuli.ProfileAAD(p.UID)); err != nil {
		return nil, fmt.Errorf("seal the defaults of sensitive variables: %w", err)
	}
	return vars, nil
}

// unmask puts the stored defaults where a client sent back the mask that it was
// shown.
func unmask(raw json.RawMessage, old map[string]string) (json.RawMessage, error) {
	vars, err := pack.ParseVariables(raw)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what it is about
	}
	known := map[string]string{}
	for _, v := range vars {
		if secret, ok := old[v.Name]; ok && v.DefaultValue == pack.MaskedValue {
			known[v.Name] = secret
		}
	}
	return pack.JoinSecrets(raw, known) //nolint:wrapcheck // as above
}

// variableSecrets opens the defaults of the sensitive variables of a profile.
func (a *API) variableSecrets(p *lazuli.Profile) (map[string]string, error) {
	if len(p.VariableSecrets) == 0 {
		return nil, nil //nolint:nilnil // there are none
	}
	plain, err := a.Seal.Unseal(p.VariableSecrets, lazuli.ProfileAAD(p.UID))
	if err != nil {
		return nil, fmt.Errorf("open the defaults of the variables of profile %s: %w", p.UID, err)
	}
	var out map[string]string
	if err := json.Unmarshal(plain, &out); err != nil {
		return nil, fmt.Errorf("read the defaults of the variables of profile %s: %w", p.UID, err)
	}
	return out, nil
}

// shownVariables are the variables of a profile as sent. Defaults of sensitive
// ones are told to who may update the profile, since Terraform compares them with
// its configuration; others see a mask.
func (a *API) shownVariables(c *call, p *lazuli.Profile) (json.RawMessage, error) {
	secrets, err := a.variableSecrets(p)
	if err != nil {
		return nil, err
	}
	raw := p.Variables
	if c.may(auth.ClusterProfileUpdate, p.Project) == nil {
		raw, err = pack.JoinSecrets(raw, secrets)
	} else {
		raw, err = pack.MaskSecrets(raw, slices.Sorted(maps.Keys(secrets)))
	}
	if err != nil {
		return nil, fmt.Errorf("render the variables of profile %s: %w", p.UID, err)
	}
	return raw, nil
}

// maskedVariables are shownVariables for nobody in particular.
func (a *API) maskedVariables(p *lazuli.Profile) (json.RawMessage, error) {
	secrets, err := a.variableSecrets(p)
	if err != nil {
		return nil, err
	}
	raw, err := pack.MaskSecrets(p.Variables, slices.Sorted(maps.Keys(secrets)))
	if err != nil {
		return nil, fmt.Errorf("render the variables of profile %s: %w", p.UID, err)
	}
	return raw, nil
}

func getProfileVariables(a *API, c *call) (any, error) {
	p, err := get[lazuli.Profile](c.ctx(), a.Store, c, c.param("uid"))
	if err != nil {
		return nil, err
	}
	shown := *p
	if shown.Variables, err = a.shownVariables(c, p); err != nil {
		return nil, err
	}
	return palette.VariablesOf(&shown), nil
}

// putProfileVariables replaces all variables. Packs may refer to one that is
// gone until the profile is updated or published next: Terraform changes the
// variables first. The event says so.
func putProfileVariables(a *API, c *call) (any, error) {
	var in palette.Variables
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeVariables(c, func(*lazuli.Profile) (json.RawMessage, error) { return in.Variables, nil })
}

// patchProfileVariables adds variables and replaces those of the same name.
func patchProfileVariables(a *API, c *call) (any, error) {
	var in palette.Variables
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeVariables(c, func(p *lazuli.Profile) (json.RawMessage, error) {
		return mergeVariables(p.Variables, in.Variables, nil)
	})
}

// deleteProfileVariables removes variables by their names; names that there are
// not are no fault.
func deleteProfileVariables(a *API, c *call) (any, error) {
	var in struct {
		Variables []string `json:"variables"`
	}
	if err := decode(c.body, &in); err != nil {
		return nil, err
	}
	return nil, a.changeVariables(c, func(p *lazuli.Profile) (json.RawMessage, error) {
		return mergeVariables(p.Variables, nil, in.Variables)
	})
}

// mergeVariables lays declarations over others by name, and leaves some out. The
// text of each stays as it was sent.
func mergeVariables(base, over json.RawMessage, without []string) (json.RawMessage, error) {
	type item struct {
		name string
		text json.RawMessage
	}
	var items []item
	for _, raw := range []json.RawMessage{base, over} {
		vars, err := pack.ParseVariables(raw)
		if err != nil || len(vars) == 0 {
			if err != nil {
				var f lazuli.Fields
				f.Add("variables", "is not a list of variables")
				return nil, f.Err()
			}
			continue
		}
		var texts []json.RawMessage
		if err := json.Unmarshal(raw, &texts); err != nil {
			return nil, fmt.Errorf("read variables: %w", err)
		}
		for i, v := range vars {
			at := slices.IndexFunc(items, func(x item) bool { return x.name == v.Name })
			if at < 0 {
				items = append(items, item{v.Name, texts[i]})
				continue
			}
			items[at].text = texts[i]
		}
	}
	out := []json.RawMessage{}
	for _, x := range items {
		if !slices.Contains(without, x.name) {
			out = append(out, x.text)
		}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write variables: %w", err)
	}
	return raw, nil
}

// changeVariables replaces the variables of a profile inside one transaction.
func (a *API) changeVariables(c *call, change func(*lazuli.Profile) (json.RawMessage, error)) error {
	err := a.Store.Update(c.ctx(), func(tx store.Tx) error {
		p, err := getToChange[lazuli.Profile](c.ctx(), tx, c, c.param("uid"))
		if err != nil {
			return err
		}
		// What is kept of sensitive variables gets its default back.
		secrets, err := a.variableSecrets(p)
		if err != nil {
			return err
		}
		before, masked := p.Content(), *p
		if masked.Variables, err = pack.MaskSecrets(p.Variables, slices.Sorted(maps.Keys(secrets))); err != nil {
			return fmt.Errorf("read the variables of profile %s: %w", p.UID, err)
		}
		raw, err := change(&masked)
		if err != nil {
			return err
		}
		var f lazuli.Fields
		vars, err := a.setVariables(&f, "variables", p, raw)
		if err = errors.Join(err, f.Err()); err != nil {
			return err
		}
		if err := tx.Update(c.ctx(), p); err != nil {
			return fmt.Errorf("update profile %s: %w", p.UID, err)
		}
		return errors.Join(offered(c.ctx(), tx, p, before), a.undeclared(c, tx, p, vars), tx.AppendAudit(c.ctx(), c.audit(lazuli.KindProfile, p.UID, p.Project)))
	})
	return err //nolint:wrapcheck // says all
}

// undeclared records that packs refer to variables that the profile does not
// declare any more.
func (a *API) undeclared(c *call, tx store.Tx, p *lazuli.Profile, vars []pack.Variable) error {
	var err error
	for _, x := range a.Packs.ValidateProfile(p.Type, slices.Concat(p.Draft, p.Published), vars, pack.Scope{}) {
		if x.Code == pack.CodeUndefined {
			err = errors.Join(err, a.event(c, tx, p, lazuli.SeverityWarning, x.Code, x.Message+"; clusters cannot get the profile like this."))
		}
	}
	return err
}
