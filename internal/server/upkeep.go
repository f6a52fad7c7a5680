// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/lazuli-dev/lazuli/internal/store"
)

const (
	upkeepInterval = time.Hour
	upkeepPause    = 100 * time.Millisecond // between batches: others write too
	upkeepBatch    = 50
	// keepGone is how long one can ask what became of an object.
	keepGone = 72 * time.Hour
)

// upkeep looks after the store until ctx ends: at once, for what a new release
// finds, and every hour. What goes wrong is tried again then.
func (s *Server) upkeep(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		more, err := s.store.Upkeep(ctx, store.Upkeep{KeepGone: keepGone, Batch: upkeepBatch})
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "look after the store", "error", err)
		}
		if more {
			timer.Reset(upkeepPause)
		} else {
			timer.Reset(upkeepInterval)
		}
	}
}
