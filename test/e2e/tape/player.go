// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Answer is what a hub answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Player plays sessions to a hub.
type Player struct {
	Hub   Hub
	Model *Model
	// Send sends a request; target is a path with its query. It puts in the
	// credential.
	Send func(method, target string, header map[string]string, body []byte) Answer
	// Await polls until ok is true, and reports whether it came to that in time.
	Await func(ok func() bool) bool
	// Gaps are operations that the hub does not do yet, or not rightly, and why.
	Gaps map[string]string

	played  int
	words   *substitute
	lost    map[string]string // recorded uids that have no counterpart, and the operation that should have made it
	waiting map[string][]made // by noun, what was made and not named by the recording yet
	last    map[string]write  // by our uid of a cluster
	config  string            // uid of the cloud config of the cluster that was read last
	told    string            // what the recorder was told to do
	ran     map[string]bool   // clusters that came up
	repeats map[string]string // uid by body of a creation that the recorder refused
	found   map[string]*problem
	gapped  map[string]int
	tried   map[string]bool // operations that were played
}

type made struct{ uid, lost string }

// write is the last thing that was asked of a cluster.
type write struct {
	operation string
	profile   string // attached, where the client waits for its packs; "" where only for leave to go on
}

type problem struct {
	where, text string
	times       int
}

// patience is the silence after which the client is taken to have waited for
// something, in seconds.
const patience = 25

// Play sends the requests of a session in order.
func (p *Player) Play(s *Session) {
	p.words, p.lost, p.waiting, p.last = newSubstitute(&p.Hub), map[string]string{}, map[string][]made{}, map[string]write{}
	p.told, p.config, p.repeats, p.ran = "", "", map[string]string{}, map[string]bool{}
	if p.found == nil {
		p.found, p.gapped, p.tried = map[string]*problem{}, map[string]int{}, map[string]bool{}
	}
	for i := range s.Requests {
		r := &s.Requests[i]
		p.played++
		if r.Control() {
			p.told = r.Query
			continue
		}
		p.play(r, i > 0 && r.Seconds-s.Requests[i-1].Seconds >= patience)
	}
}

func (p *Player) play(r *Request, waited bool) {
	operation := p.Model.Operation(r.Method, r.Path)
	body, path, err := p.adapt(r)
	if err != nil {
		if gap := p.lostBy(r); gap != "" {
			p.gapped[gap]++
			p.make(r, operation, gap, "")
			return
		}
		p.report(r.Where, operation, err.Error())
		return
	}
	if waited {
		p.await(r.Where, path)
	}
	target := path
	if r.Query != "" {
		target += "?" + p.words.query(r.Query)
	}
	header := maps.Clone(r.Header)
	if header["Projectuid"] != "" {
		header["Projectuid"] = p.Hub.Project
	}
	a, faults := p.exchange(r.Method, target, header, body)
	p.tried[operation] = true
	status := r.Status
	if injected := p.injected(r); injected != 0 {
		status = injected
		p.sameAgain(r, &a, body)
	}
	if a.Status != status && !p.early(operation, path, &a) {
		p.report(r.Where, operation, fmt.Sprintf("%s %s: status %d, right is %d: %s", r.Method, path, a.Status, status, bytes.TrimSpace(a.Body)))
	}
	for _, f := range faults {
		p.report(r.Where, f.Operation, f.Message)
	}
	if v, err := parse(a.Body); operation == "v1ProjectsMetadata" && (err != nil || named(items(v, "items"), "metadata.name", "Default") == nil) {
		p.report(r.Where, operation, "there is no project Default, which the client is in by default")
	}
	p.learn(r, path, &a, body)
}

// injections say what a right hub answers where the recorder was told to give
// another answer. Every one of them is about the creation of the same good
// account, so a right hub makes it once, and takes each later request for a
// repetition of one whose answer was lost: 201 and the same uid.
func injections() map[string]int {
	return map[string]int{
		"accstatus=200":                                             http.StatusCreated, // a wrong success, which the client repeats
		"accstatus=400&accerr=BadRequest":                           http.StatusCreated,
		"accstatus=500&accerr=InternalError":                        http.StatusCreated,
		"accstatus=503&accerr=Unavail":                              http.StatusCreated,
		"accstatus=429&accerr=TooMany":                              http.StatusCreated,
		"accstatus=409&accerr=Dup&accct=text/plain":                 http.StatusCreated, // not DuplicateName: nothing is another's
		"accstatus=422&accerr=Dup&accct=application/problem%2Bjson": http.StatusCreated,
	}
}

// injected is what a right hub answers, 0 where the recorder said what it saw.
func (p *Player) injected(r *Request) int {
	if r.Method != http.MethodPost || r.Path != "/v1/cloudaccounts/azure" {
		return 0
	}
	return injections()[p.told]
}

// early reports whether a hub is right to say that there is no kubeconfig, which
// the client takes for an empty one: the recorder had one for every cluster, and
// the client did not wait for this one to come up.
func (p *Player) early(operation, path string, a *Answer) bool {
	switch operation {
	case "v1SpectroClustersUidKubeConfigClientGet", "v1SpectroClustersUidAdminKubeConfig":
		v, err := parse(a.Body)
		uid := strings.Split(path, "/")[3]
		return err == nil && a.Status == http.StatusNotFound && text(v, "code") == "ResourceNotFound" && !p.ran[uid]
	default:
		return false
	}
}

// sameAgain looks that a repeated creation gives the same object.
func (p *Player) sameAgain(r *Request, a *Answer, body []byte) {
	v, err := parse(a.Body)
	uid := text(v, "uid")
	if err != nil || uid == "" {
		return // the status says what is wrong
	}
	if first := p.repeats[string(body)]; first != "" && first != uid {
		p.report(r.Where, p.Model.Operation(r.Method, r.Path), "a repeated creation made "+uid+" beside "+first)
	}
	p.repeats[string(body)] = uid
}

// exchange sends a request and has the model look at the answer.
func (p *Player) exchange(method, target string, header map[string]string, body []byte) (Answer, []Fault) {
	a := p.Send(method, target, header, body)
	path, query, _ := strings.Cut(target, "?")
	return a, p.Model.Observe(&Exchange{
		Method: method, Path: path, Query: query, Project: header["Projectuid"], Sent: body, Status: a.Status, Header: a.Header, Got: a.Body,
	})
}

// report counts a problem once a text, or as a gap.
func (p *Player) report(where, operation, message string) {
	if _, known := p.Gaps[operation]; known {
		p.gapped[operation]++
		return
	}
	key := operation + random.ReplaceAllString(message, "…")
	if p.found[key] == nil {
		p.found[key] = &problem{where: where, text: operation + ": " + message}
	}
	p.found[key].times++
}

// random is what differs between two messages that say the same.
var random = regexp.MustCompile(`[0-9a-f]{16,24}`)

// Result is how the sessions went.
type Result struct {
	Played   int
	Problems []string // each with the place where it was met first
	Gaps     []string // known ones that were met, with their reasons
	Closed   []string // gaps that are none
}

// Result sums up what was played.
func (p *Player) Result() Result {
	out := Result{Played: p.played}
	for _, key := range slices.Sorted(maps.Keys(p.found)) {
		f := p.found[key]
		out.Problems = append(out.Problems, fmt.Sprintf("%s: %s (%d times)", f.where, f.text, f.times))
	}
	slices.Sort(out.Problems)
	for _, operation := range slices.Sorted(maps.Keys(p.Gaps)) {
		if n := p.gapped[operation]; n > 0 {
			out.Gaps = append(out.Gaps, fmt.Sprintf("%s (%d requests): %s", operation, n, p.Gaps[operation]))
		} else {
			out.Closed = append(out.Closed, operation)
		}
	}
	return out
}
