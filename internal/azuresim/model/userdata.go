// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// maxUserData bounds the user data after decompression, in bytes.
const maxUserData = 4 << 20

// guestFile is a file that cloud-init writes.
type guestFile struct {
	content    string
	executable bool
}

// userData is what cloud-init makes of a machine's custom data.
type userData struct {
	files map[string]guestFile
	// commands of bootcmd and then runcmd, one shell line each.
	commands []string
}

type cloudConfig struct {
	BootCmd    []any `json:"bootcmd"`
	RunCmd     []any `json:"runcmd"`
	WriteFiles []struct {
		Path        string `json:"path"`
		Content     string `json:"content"`
		Encoding    string `json:"encoding"`
		Permissions any    `json:"permissions"`
		Owner       string `json:"owner"`
		Append      bool   `json:"append"`
	} `json:"write_files"`
}

// parseUserData reads custom data as cloud-init does: gzip is unpacked, the header decides, then it must be YAML.
func parseUserData(raw []byte, hostname string) (*userData, error) {
	text, err := unpack(raw)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("no user data")
	}
	header, rest, _ := strings.Cut(string(text), "\n")
	if strings.TrimSpace(header) == "## template: jinja" {
		text = []byte(renderJinja(rest, hostname))
		header, _, _ = strings.Cut(rest, "\n")
	}
	if strings.TrimSpace(header) != "#cloud-config" {
		return nil, fmt.Errorf("unhandled non-multipart (text/x-not-multipart) userdata: %q", clip(header))
	}
	var cc cloudConfig
	if err := yaml.Unmarshal(text, &cc); err != nil {
		return nil, fmt.Errorf("failed loading yaml blob: %w", err)
	}
	u := &userData{files: map[string]guestFile{}}
	for _, f := range cc.WriteFiles {
		content, err := decodeContent(f.Content, f.Encoding)
		if err != nil {
			return nil, fmt.Errorf("write_files %s: %w", f.Path, err)
		}
		if !strings.HasPrefix(f.Path, "/") {
			return nil, fmt.Errorf("write_files: path %q is not absolute", f.Path)
		}
		if f.Append {
			content = u.files[f.Path].content + content
		}
		u.files[f.Path] = guestFile{content: content, executable: executable(f.Permissions)}
	}
	for _, c := range append(cc.BootCmd, cc.RunCmd...) {
		line, err := commandLine(c)
		if err != nil {
			return nil, err
		}
		u.commands = append(u.commands, line)
	}
	return u, nil
}

func clip(s string) string {
	const limit = 60
	if len(s) > limit {
		return s[:limit]
	}
	return s
}

// unpack inflates gzip and leaves the rest alone.
func unpack(raw []byte) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("unpack user data: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, maxUserData+1))
	if err != nil {
		return nil, fmt.Errorf("unpack user data: %w", err)
	}
	if len(out) > maxUserData {
		return nil, fmt.Errorf("unpack user data: more than %d bytes", maxUserData)
	}
	return out, nil
}

var jinjaHostname = regexp.MustCompile(`\{\{\s*(?:ds\.meta_data(?:\.local_hostname|\[['"]local_hostname['"]\])|v1\.local_hostname|v1\.hostname)\s*\}\}`)

// renderJinja knows the one variable that kubeadm configurations use.
func renderJinja(text, hostname string) string {
	return jinjaHostname.ReplaceAllLiteralString(text, hostname)
}

// decodeContent undoes the encodings of write_files.
func decodeContent(content, encoding string) (string, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "text/plain":
		return content, nil
	case "b64", "base64":
		out, err := base64.StdEncoding.DecodeString(strings.TrimSpace(content))
		if err != nil {
			return "", fmt.Errorf("decode base64: %w", err)
		}
		return string(out), nil
	case "gz", "gzip":
		out, err := unpack([]byte(content))
		return string(out), err
	case "gz+b64", "gz+base64", "gzip+b64", "gzip+base64":
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(content))
		if err != nil {
			return "", fmt.Errorf("decode base64: %w", err)
		}
		out, err := unpack(raw)
		return string(out), err
	}
	return "", fmt.Errorf("unknown encoding %q", encoding)
}

// executable reads permissions, which YAML gives as text ("0755") or as the number an octal literal means.
func executable(permissions any) bool {
	const anyX = 0o111
	switch p := permissions.(type) {
	case string:
		n, err := strconv.ParseUint(strings.TrimPrefix(p, "0o"), 8, 32)
		return err == nil && n&anyX != 0
	case float64:
		return int64(p)&anyX != 0
	}
	return false
}

// commandLine turns an entry of runcmd into one shell line.
func commandLine(entry any) (string, error) {
	switch c := entry.(type) {
	case string:
		return c, nil
	case []any:
		words := make([]string, 0, len(c))
		for _, w := range c {
			words = append(words, fmt.Sprint(w))
		}
		return strings.Join(words, " "), nil
	}
	return "", fmt.Errorf("unable to shellify type %T: expected list, string", entry)
}
