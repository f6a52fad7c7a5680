// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"fmt"
	"sync"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/store/sqltext"
)

// maxCounts bounds what is remembered of a kind.
const maxCounts = 1000

// counts remembers how many objects of listed kinds match a filter: all rows
// have to be looked at to know, and consoles ask again with every page. It is
// exact, as no other process writes to the file.
//
//	reader:  epoch of the kind -> snapshot of the database begins -> count
//	writer:  epoch+1, then commit, then epoch+1
//
// A reader whose epoch is still the kind's therefore has a snapshot on which
// all counts of that epoch hold; while a commit is under way there is none.
type counts struct {
	mu    sync.Mutex
	kinds map[lazuli.Kind]*countsOf
}

type countsOf struct {
	epoch   int64
	writing bool
	known   map[string]int
}

func (c *counts) of(kind lazuli.Kind) *countsOf {
	k, ok := c.kinds[kind]
	if !ok {
		if c.kinds == nil {
			c.kinds = map[lazuli.Kind]*countsOf{}
		}
		k = &countsOf{known: map[string]int{}}
		c.kinds[kind] = k
	}
	return k
}

// change forgets the counts of kinds that a commit is going to change, or that
// it has changed.
func (c *counts) change(kinds []lazuli.Kind, writing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range kinds {
		k := c.of(kind)
		k.epoch++
		k.writing = writing
		clear(k.known)
	}
}

// reader begins to read; it implements sqltx.Counter for one snapshot that
// begins later.
func (c *counts) reader(kind lazuli.Kind) *countReader {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.of(kind)
	return &countReader{all: c, of: k, epoch: k.epoch, useless: k.writing}
}

type countReader struct {
	all     *counts
	of      *countsOf
	epoch   int64
	useless bool
}

// Count implements sqltx.Counter.
func (r *countReader) Count(st sqltext.Statement, ask func() (int, error)) (int, error) {
	key := fmt.Sprintf("%s %q", st.Text, st.Args)
	if n, ok := r.known(key); ok {
		return n, nil
	}
	n, err := ask()
	if err != nil {
		return 0, err
	}
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	if !r.useless && r.of.epoch == r.epoch {
		if len(r.of.known) >= maxCounts {
			clear(r.of.known)
		}
		r.of.known[key] = n
	}
	return n, nil
}

func (r *countReader) known(key string) (int, bool) {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	if r.useless || r.of.epoch != r.epoch {
		return 0, false
	}
	n, ok := r.of.known[key]
	return n, ok
}
