// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/lazuli-dev/lazuli"
)

const (
	maxBody  = 1 << 20 // bytes; the default of all routes with a body
	maxDepth = 64      // of nesting; the deepest honest request has 9
	// wholeBody is the path of a finding about no single field.
	wholeBody = "(body)"
)

// readBody reads a body whole and checks its form, before anything is made of
// it.
func readBody(w http.ResponseWriter, r *http.Request, rt route) ([]byte, error) {
	limit := rt.Body
	body := http.MaxBytesReader(w, r.Body, limit)
	if rt.File != "" {
		return readFile(r.Header, body, rt)
	}
	if err := checkMediaType(r.Header); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(body)
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, lazuli.Errorf(lazuli.CodeBodyTooLarge, "the body is larger than %d bytes", limit)
		}
		return nil, &lazuli.Error{Code: lazuli.CodeMalformedBody, Message: "read the body: it broke off", Err: err}
	}
	return b, checkJSON(b)
}

// readFile reads the member rt.File of a multipart body.
func readFile(h http.Header, body io.Reader, rt route) ([]byte, error) {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return nil, lazuli.Errorf(CodeMediaType, "the body is said to be %q, where multipart/form-data is needed", shorten(h.Get("Content-Type")))
	}
	parts := multipart.NewReader(body, params["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			var f lazuli.Fields
			f.Add(rt.File, "is missing: the file to read")
			return nil, f.Err()
		}
		if err != nil {
			return nil, brokenFile(err, rt.Body)
		}
		if part.FormName() != rt.File {
			continue
		}
		b, err := io.ReadAll(part)
		if err != nil {
			return nil, brokenFile(err, rt.Body)
		}
		return b, nil
	}
}

func brokenFile(err error, limit int64) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return lazuli.Errorf(lazuli.CodeBodyTooLarge, "the body is larger than %d bytes", limit)
	}
	return &lazuli.Error{Code: lazuli.CodeMalformedBody, Message: "the body is not multipart/form-data: it broke off", Err: err}
}

func checkMediaType(h http.Header) error {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return lazuli.Errorf(CodeMediaType, "the body is encoded as %s", shorten(e))
	}
	ct := h.Get("Content-Type")
	if ct == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(ct)
	if err != nil || media != "application/json" {
		return lazuli.Errorf(CodeMediaType, "the body is said to be %q", shorten(ct))
	}
	if cs := params["charset"]; cs != "" && !strings.EqualFold(cs, "utf-8") {
		return lazuli.Errorf(CodeMediaType, "the body is said to be in %q", shorten(cs))
	}
	return nil
}

// checkJSON accepts one JSON document without what different readers read
// differently.
func checkJSON(b []byte) error {
	if len(strings.TrimSpace(string(b))) == 0 {
		return lazuli.Errorf(lazuli.CodeMalformedBody, "the body is empty; a JSON object is needed")
	}
	if !utf8.Valid(b) {
		return lazuli.Errorf(lazuli.CodeMalformedBody, "the body is not valid UTF-8")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		if s, ok := errors.AsType[*json.SyntaxError](err); ok {
			return lazuli.Errorf(lazuli.CodeMalformedBody, "the body is not JSON: %v, at byte %d", s, s.Offset)
		}
		return lazuli.Errorf(lazuli.CodeMalformedBody, "the body is not JSON")
	}
	w := walker{b: b, at: -1}
	return w.value(0)
}

// decode reads a checked body into dst. A value of the wrong type is an
// InvalidField with its path.
func decode(b []byte, dst any) error {
	err := json.Unmarshal(b, dst)
	if err == nil {
		return nil
	}
	path := wholeBody
	message := "cannot be read: " + err.Error()
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		path = orElse(pathAt(b, int(t.Offset)), wholeBody)
		message = fmt.Sprintf("is a %s, where %s is needed", t.Value, wanted(t.Type.String()))
	}
	var f lazuli.Fields
	f.Add(path, "%s", shorten(message))
	return f.Err()
}

// wanted names a Go type for people.
func wanted(goType string) string {
	switch {
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"):
		return "a whole number of " + strings.TrimLeft(goType, "uint") + " bits"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "a string"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	default:
		return "an object"
	}
}

// pathAt returns the path of the innermost value that ends at or spans byte
// offset of the valid JSON b.
func pathAt(b []byte, offset int) string {
	w := walker{b: b, at: offset}
	if err := w.value(0); err != nil {
		return ""
	}
	return strings.TrimPrefix(w.found, ".")
}

// walker walks valid JSON. It relies on that validity for the bounds.
type walker struct {
	b     []byte
	i     int
	at    int    // offset whose path is wanted, or -1
	path  []byte // of the value that the walker is in; kept only when at >= 0
	found string
}

func (w *walker) space() {
	for w.i < len(w.b) && strings.IndexByte(" \t\r\n", w.b[w.i]) >= 0 {
		w.i++
	}
}

func (w *walker) value(depth int) error {
	if depth > maxDepth {
		return lazuli.Errorf(lazuli.CodeMalformedBody, "the body is nested deeper than %d", maxDepth)
	}
	w.space()
	start := w.i
	if w.at >= 0 && start < w.at {
		w.found = string(w.path) // the last value to start before the offset and not to end before it
	}
	switch w.b[w.i] {
	case '{':
		return w.object(depth)
	case '[':
		return w.array(depth)
	case '"':
		_, err := w.text()
		return err
	default:
		for w.i < len(w.b) && strings.IndexByte(",]} \t\r\n", w.b[w.i]) < 0 {
			w.i++
		}
		return nil
	}
}

// inside walks a member and then gives the place back, in so far as the wanted
// offset lies behind it.
func (w *walker) inside(segment string, depth int) error {
	if w.at < 0 {
		return w.value(depth)
	}
	before := len(w.path)
	outer := w.found
	w.path = append(w.path, segment...)
	err := w.value(depth)
	w.path = w.path[:before]
	if w.i < w.at {
		w.found = outer
	}
	return err
}

func (w *walker) object(depth int) error {
	seen := map[string]struct{}{}
	w.i++ // {
	for w.space(); w.b[w.i] != '}'; w.space() {
		if w.b[w.i] == ',' {
			w.i++
			continue
		}
		key, err := w.text()
		if err != nil {
			return err
		}
		if _, twice := seen[key]; twice {
			return lazuli.Errorf(lazuli.CodeMalformedBody, "the key %q is twice in one object", shorten(key))
		}
		seen[key] = struct{}{}
		w.space()
		w.i++ // :
		if err := w.inside("."+key, depth+1); err != nil {
			return err
		}
	}
	w.i++
	return nil
}

func (w *walker) array(depth int) error {
	w.i++ // [
	n := 0
	for w.space(); w.b[w.i] != ']'; w.space() {
		if w.b[w.i] == ',' {
			w.i++
			continue
		}
		if err := w.inside("["+strconv.Itoa(n)+"]", depth+1); err != nil {
			return err
		}
		n++
	}
	w.i++
	return nil
}

const (
	escapeLength = 6 // \uXXXX
	highFirst    = 0xd800
	lowFirst     = 0xdc00
	lowLast      = 0xdfff
)

// text walks a string and returns it decoded.
func (w *walker) text() (string, error) {
	start := w.i
	escaped := false
	for w.i++; w.b[w.i] != '"'; {
		if w.b[w.i] != '\\' {
			w.i++
			continue
		}
		escaped = true
		if w.b[w.i+1] != 'u' {
			w.i += 2
			continue
		}
		switch r := w.escape(w.i); {
		case r == 0:
			return "", lazuli.Errorf(lazuli.CodeMalformedBody, "the body contains NUL")
		case r < highFirst || r > lowLast:
			w.i += escapeLength
		case r < lowFirst && utf16.DecodeRune(r, w.escape(w.i+escapeLength)) != utf8.RuneError:
			w.i += 2 * escapeLength
		default:
			return "", lazuli.Errorf(lazuli.CodeMalformedBody, "the body contains half of a surrogate pair")
		}
	}
	w.i++
	if !escaped {
		return string(w.b[start+1 : w.i-1]), nil
	}
	var s string
	if err := json.Unmarshal(w.b[start:w.i], &s); err != nil {
		return "", lazuli.Errorf(lazuli.CodeMalformedBody, "the body contains a broken string")
	}
	return s, nil
}

// escape reads \uXXXX at i, -1 when there is none.
func (w *walker) escape(i int) rune {
	if i+escapeLength > len(w.b) || w.b[i] != '\\' || w.b[i+1] != 'u' {
		return -1
	}
	v, err := strconv.ParseUint(string(w.b[i+2:i+escapeLength]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(v)
}
