// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
)

// memoSize bounds a memo: about as many layers as the clusters have that change
// at one time.
const memoSize = 512

// memo keeps what pure functions returned. A reconciler reads the same values
// and renders the same manifests at each look at a cluster. It is safe for
// concurrent use; what it returns is shared and must not be changed.
type memo[V any] struct {
	mu   sync.Mutex
	kept map[[sha256.Size]byte]V
}

// of returns what is kept for the arguments, or else the result of do. Errors
// are not kept.
func (m *memo[V]) of(do func() (V, error), args ...any) (V, error) {
	b, err := json.Marshal(args)
	if err != nil {
		var none V
		return none, fmt.Errorf("encode the arguments of a pack: %w", err)
	}
	key := sha256.Sum256(b)
	m.mu.Lock()
	v, ok := m.kept[key]
	m.mu.Unlock()
	if ok {
		return v, nil
	}
	if v, err = do(); err != nil {
		return v, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil || len(m.kept) >= memoSize {
		m.kept = make(map[[sha256.Size]byte]V)
	}
	m.kept[key] = v
	return v, nil
}
