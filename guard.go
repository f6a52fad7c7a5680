// SPDX-License-Identifier: Apache-2.0

package lazuli

import "context"

type guardKey struct{}

// WithGuard makes what is written outside with the context (to Azure, to a
// deployed cluster) depend on guard: whoever sends a write asks MayWrite as the
// last thing before it leaves, after every queue. It is in the context, beside
// the actor and the request id, because the one who knows (the engine, of a
// lease) and the one who must ask (a transport) know nothing of each other.
func WithGuard(ctx context.Context, guard func() error) context.Context {
	return context.WithValue(ctx, guardKey{}, guard)
}

// MayWrite returns why nothing may be written outside with the context any
// more: CodeFenced when the lease is over that it is done under. Without a
// guard everything may. It is cheap, does no input or output, and holds for the
// moment: ask again after each wait.
func MayWrite(ctx context.Context) error {
	guard, ok := ctx.Value(guardKey{}).(func() error)
	if !ok {
		return nil
	}
	return guard()
}
