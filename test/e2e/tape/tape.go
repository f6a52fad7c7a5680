// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The recordings, in the order in which they were made.
const (
	createFile  = "01-create.jsonl"
	updateFile  = "02-update-day2-errors.jsonl"
	destroyFile = "03-destroy.jsonl"
)

// Request is one request of a recording and the status that the recorder
// answered it with.
type Request struct {
	Where   string // file and line, of each recording that has it
	Seconds float64
	Method  string
	Path    string
	Query   string
	Header  map[string]string
	Body    json.RawMessage // null for none
	Status  int
}

// Control reports whether a request told the recorder how to behave, and was
// none of the client's.
func (r *Request) Control() bool { return strings.HasPrefix(r.Path, "/__") }

// Session is what one life of the recorder was asked.
type Session struct {
	Name     string
	Requests []Request
}

// Load reads the recordings of a directory. The recording of the destroy is the
// end of the one of the create once more, word by word, so it is played once,
// as both.
func Load(dir string) ([]Session, error) {
	create, err := read(dir, createFile)
	if err != nil {
		return nil, err
	}
	update, err := read(dir, updateFile)
	if err != nil {
		return nil, err
	}
	destroy, err := read(dir, destroyFile)
	if err != nil {
		return nil, err
	}
	if create, err = overlay(create, destroy); err != nil {
		return nil, err
	}
	first, second := split(update)
	if second == nil {
		return nil, fmt.Errorf("read %s: the recorder was started twice, but its clock never goes back", updateFile)
	}
	return []Session{
		{"create, plan, destroy", create}, {"pools, profiles", first}, {"day-2 fields, errors, static placement", second},
	}, nil
}

// overlay marks the end of one recording as another.
func overlay(long, tail []Request) ([]Request, error) {
	from := len(long) - len(tail)
	if from < 0 {
		return nil, fmt.Errorf("%s is longer than %s", destroyFile, createFile)
	}
	for i := range tail {
		a, b := &long[from+i], &tail[i]
		if a.Method != b.Method || a.Path != b.Path || a.Query != b.Query || !bytes.Equal(a.Body, b.Body) || a.Status != b.Status {
			return nil, fmt.Errorf("%s is not %s", a.Where, b.Where)
		}
		a.Where += " = " + b.Where
	}
	return long, nil
}

// split cuts where the recorder's clock starts again.
func split(all []Request) (before, after []Request) {
	for i := 1; i < len(all); i++ {
		if all[i].Seconds < all[i-1].Seconds {
			return all[:i], all[i:]
		}
	}
	return all, nil
}

// longestLine bounds what one recorded request may hold.
const longestLine = 1 << 20

func read(dir, name string) ([]Request, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("open a recording: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	var out []Request
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var rec struct {
			T      float64           `json:"t"`
			M      string            `json:"m"`
			P      string            `json:"p"`
			Q      string            `json:"q"`
			Hdr    map[string]string `json:"hdr"`
			Body   json.RawMessage   `json:"body"`
			Status int               `json:"status"`
		}
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			return nil, fmt.Errorf("read %s:%d: %w", name, len(out)+1, err)
		}
		out = append(out, Request{
			Where: fmt.Sprintf("%s:%d", name, len(out)+1), Seconds: rec.T, Method: rec.M, Path: rec.P, Query: rec.Q,
			Header: rec.Hdr, Body: rec.Body, Status: rec.Status,
		})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return out, nil
}
