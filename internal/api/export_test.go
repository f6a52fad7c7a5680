// SPDX-License-Identifier: Apache-2.0

package api

import "github.com/lazuli-dev/lazuli/internal/auth"

// Served is a row of the table of routes, as tests see it.
type Served struct {
	Method, Pattern, Operation         string
	Permission                         auth.Permission
	Status                             int
	Body, File, Public, Stream, Tenant bool
	Mutates, HasCredentialInItsURL     bool
}

// Table returns the table of routes.
func Table() []Served {
	var out []Served
	for _, r := range routes() {
		out = append(out, Served{
			Method: r.Method, Pattern: r.Pattern, Operation: r.Operation, Permission: r.Permission, Status: r.Status,
			Body: r.Body > 0, File: r.File != "", Public: r.Public, Stream: r.Stream, Tenant: r.Tenant,
			Mutates: r.Mutates, HasCredentialInItsURL: r.Secret,
		})
	}
	return out
}
