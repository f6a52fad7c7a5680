// SPDX-License-Identifier: Apache-2.0

package api

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

// titlePattern is what accounts and profiles may be called. Neither reaches
// Azure or Kubernetes, so the rule only keeps names readable and free of the
// colon, on which Terraform splits import ids.
var titlePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9 ._-]*[A-Za-z0-9._-])?$`)

// Bounds of user metadata.
const (
	maxAnnotations     = 64
	maxAnnotationKey   = 253
	maxAnnotationValue = 4096
	maxTextLength      = 1024
)

// titlePath is the field of the name that an object's title is.
const titlePath = "metadata.name"

func checkTitle(f *lazuli.Fields, name string) {
	switch {
	case name == "":
		f.Add(titlePath, "is required")
	case len(name) > lazuli.MaxNameLength:
		f.Add(titlePath, "is longer than %d characters", lazuli.MaxNameLength)
	case !titlePattern.MatchString(name):
		f.Add(titlePath, "%q: letters, digits, blanks, points, hyphens and underscores only, and a letter or digit first", shorten(name))
	}
}

// checkText refuses control characters in a text of one line.
func checkText(f *lazuli.Fields, path, s string, limit int) {
	switch {
	case len(s) > limit:
		f.Add(path, "is longer than %d bytes", limit)
	case strings.IndexFunc(s, unicode.IsControl) >= 0:
		f.Add(path, "contains a control character")
	}
}

// ownAnnotations are those that the hub derives; a user's are not stored.
var ownAnnotations = map[string]bool{
	palette.AnnotationScope: true, palette.AnnotationProject: true,
}

// annotations checks and returns the user's own annotations.
func annotations(f *lazuli.Fields, m *palette.ObjectMeta) map[string]string {
	if m == nil {
		return nil
	}
	if len(m.Annotations) > maxAnnotations {
		f.Add("metadata.annotations", "has more than %d entries", maxAnnotations)
		return nil
	}
	out := make(map[string]string, len(m.Annotations))
	for _, k := range sortedKeys(m.Annotations) {
		v := m.Annotations[k]
		if ownAnnotations[k] {
			continue
		}
		if k == "" || len(k) > maxAnnotationKey {
			f.Add("metadata.annotations", "the key %q has not 1 to %d bytes", shorten(k), maxAnnotationKey)
		}
		if len(v) > maxAnnotationValue {
			f.Add("metadata.annotations."+shorten(k), "is longer than %d bytes", maxAnnotationValue)
		}
		out[k] = v
	}
	return out
}
