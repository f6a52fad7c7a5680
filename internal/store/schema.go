// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"

	"github.com/lazuli-dev/lazuli"
)

// FirstVersion is the version of the JSON of kinds without a Schema.
const FirstVersion = 1

// Schema says in which version of its JSON form a kind is written, and how
// rows that an older release wrote are read.
type Schema struct {
	Version int
	// Upcast turns JSON of an older version into JSON of Version. It must not
	// need anything but its arguments.
	Upcast func(from int, data []byte) ([]byte, error)
}

// Schemas holds the Schema of each kind whose JSON form has ever changed. A
// kind that is missing is of FirstVersion.
type Schemas map[lazuli.Kind]Schema

// Version is the version in which objects of a kind are written.
func (s Schemas) Version(kind lazuli.Kind) int {
	if sc, ok := s[kind]; ok {
		return sc.Version
	}
	return FirstVersion
}

// Current turns stored JSON into JSON of the kind's current version. A row of
// a newer version than this release knows is an error, never a guess.
func (s Schemas) Current(kind lazuli.Kind, uid string, version int, data []byte) ([]byte, error) {
	want := s.Version(kind)
	switch {
	case version == want:
		return data, nil
	case version > want:
		return nil, lazuli.Errorf(lazuli.CodeInternal,
			"read %s %s: it was written by a newer release (data version %d, this one knows %d)", kind, uid, version, want)
	}
	up := s[kind].Upcast
	if up == nil {
		return nil, lazuli.Errorf(lazuli.CodeInternal,
			"read %s %s: nothing turns its data version %d into %d", kind, uid, version, want)
	}
	out, err := up(version, data)
	if err != nil {
		return nil, unreadable(kind, uid, fmt.Errorf("upcast data version %d: %w", version, err))
	}
	return out, nil
}

// Decode unmarshals current JSON of the object (kind, uid) into dst. What
// cannot be decoded is lazuli.CodeInternal and names the object; the row stays.
func Decode(kind lazuli.Kind, uid string, data []byte, dst any) error {
	if err := json.Unmarshal(data, dst); err != nil {
		return unreadable(kind, uid, err)
	}
	return nil
}

func unreadable(kind lazuli.Kind, uid string, err error) error {
	return &lazuli.Error{
		Code:    lazuli.CodeInternal,
		Message: fmt.Sprintf("read %s %s: the stored row cannot be decoded and is left as it is", kind, uid),
		Err:     err,
	}
}
