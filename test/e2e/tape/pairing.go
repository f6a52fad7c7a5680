// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

var uidPattern = regexp.MustCompile(`^[0-9a-f]{24}$`)

// adapt gives the body and the path of a request as the hub has to get them.
func (p *Player) adapt(r *Request) (body []byte, path string, err error) {
	parts := strings.Split(r.Path, "/")
	for i, part := range parts {
		if uidPattern.MatchString(part) && i > 0 {
			p.meet(parts[i-1], part)
			if p.words.words[part] == "" {
				return nil, "", fmt.Errorf("the uid %s in %s is of nothing that was made", part, r.Path)
			}
		}
	}
	path = p.words.path(r.Path)
	v, err := parse(r.Body)
	if err != nil || v == nil {
		return nil, path, err
	}
	if r.Method == http.MethodPost {
		v = clean(v)
	}
	v = p.words.body(v)
	if unknown := p.strangers("", v); len(unknown) > 0 {
		return nil, "", fmt.Errorf("the uids %v in the body are of nothing that was made", unknown)
	}
	body, err = json.Marshal(v)
	return body, path, err
}

// clean drops what the recorder added to the bodies of creations.
func clean(v any) any {
	o := without(v, "kind", "status")
	if m, is := o["metadata"].(object); is {
		o["metadata"] = without(m, "uid")
	}
	return o
}

// strangers are uids in a body that the hub has not: of manifests, by which the
// client names those that it read before, they are looked up by name.
func (p *Player) strangers(name string, v any) []string {
	var out []string
	switch v := v.(type) {
	case object:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if s, is := v[k].(string); is && k == "uid" && uidPattern.MatchString(s) && !p.ours(s) {
				if ours := p.Model.manifestUID(text(v, "name")); ours != "" {
					v[k] = ours
					continue
				}
				out = append(out, s)
				continue
			}
			out = append(out, p.strangers(k, v[k])...)
		}
	case list:
		for _, e := range v {
			out = append(out, p.strangers(name, e)...)
		}
	case string:
		if (name == "profileUids" || name == "replaceWithProfile" || name == "cloudAccountUid") && uidPattern.MatchString(v) && !p.ours(v) {
			out = append(out, v)
		}
	}
	return out
}

func (p *Player) ours(uid string) bool {
	for _, ours := range p.words.words {
		if ours == uid {
			return true
		}
	}
	return false
}

// meet pairs a recorded uid that is met for the first time with what was made
// first of its sort and not met yet.
func (p *Player) meet(noun, recorded string) {
	if p.words.words[recorded] != "" || p.lost[recorded] != "" {
		return
	}
	if noun == "azure" { // of cloudconfigs: accounts are known from their bodies
		if p.config != "" {
			p.words.words[recorded] = p.config
		}
		return
	}
	queue := p.waiting[noun]
	if len(queue) == 0 {
		return
	}
	p.waiting[noun] = queue[1:]
	if queue[0].lost != "" {
		p.lost[recorded] = queue[0].lost
		return
	}
	p.words.words[recorded] = queue[0].uid
}

// lostBy names the operation whose absence keeps a request from being sent.
func (p *Player) lostBy(r *Request) string {
	all := r.Path + string(r.Body)
	for _, uid := range slices.Sorted(maps.Keys(p.lost)) {
		if strings.Contains(all, uid) {
			return p.lost[uid]
		}
	}
	return ""
}

// learn takes from an answer what later requests name.
func (p *Player) learn(r *Request, path string, a *Answer, body []byte) {
	operation := p.Model.Operation(r.Method, r.Path)
	v, err := parse(a.Body)
	if err != nil {
		v = nil // a file
	}
	parts := strings.Split(path, "/")
	switch {
	case r.Method == http.MethodPost && r.Status == http.StatusCreated:
		p.make(r, operation, operation, text(v, "uid"))
		if operation == "v1SpectroClustersAzureCreate" {
			p.last[text(v, "uid")] = write{operation: operation}
		}
	case operation == "v1SpectroClustersGet" && a.Status == http.StatusOK:
		p.config = text(v, "spec.cloudConfigRef.uid")
	case a.Status >= http.StatusBadRequest:
	case operation == "v1SpectroClustersPatchProfiles" && len(parts) > 3:
		sent, err := parse(body)
		if all := items(sent, "profiles"); err == nil && len(all) > 0 {
			w := write{operation: operation}
			if text(all[0], "replaceWithProfile") == "" {
				w.profile = text(all[0], "uid")
			}
			p.last[parts[3]] = w
		}
	case operation == "v1SpectroClustersDelete" && len(parts) > 3:
		p.last[parts[3]] = write{operation: operation}
	}
}

// make pairs what was made with its recorded uid, which stands in the body where
// the recorder added it, and else is the next of its sort. Later requests name
// profiles and clusters by it, and none of what is made inside of them. What was
// not made is lost for a cause.
func (p *Player) make(r *Request, operation, cause, ours string) {
	lost := ""
	if ours == "" {
		lost = cause
	}
	if r.Method != http.MethodPost || r.Status != http.StatusCreated {
		return
	}
	if sent, err := parse(r.Body); err == nil && text(sent, "metadata.uid") != "" {
		recorded := text(sent, "metadata.uid")
		if lost != "" {
			p.lost[recorded] = lost
			return
		}
		p.words.words[recorded] = ours
		return
	}
	switch operation {
	case "v1ClusterProfilesCreate", "v1SpectroClustersAzureCreate":
		noun := strings.Split(r.Path, "/")[2]
		p.waiting[noun] = append(p.waiting[noun], made{ours, lost})
	}
}
