// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"time"
)

// Trace is what happened, line by line in virtual time, and its hash.
type Trace struct {
	Lines   []string
	started time.Time
	sum     hash.Hash
}

func newTrace(started time.Time) *Trace { return &Trace{started: started, sum: sha256.New()} }

func (t *Trace) note(format string, args ...any) {
	line := fmt.Sprintf("%12.3f ", time.Since(t.started).Seconds()) + fmt.Sprintf(format, args...)
	t.Lines = append(t.Lines, line)
	t.sum.Write([]byte(line + "\n")) // a hash takes everything
}

// Hash identifies the trace.
func (t *Trace) Hash() string { return hex.EncodeToString(t.sum.Sum(nil)[:8]) }

func (t *Trace) String() string { return strings.Join(t.Lines, "\n") }
