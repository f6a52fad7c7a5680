// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"encoding/json"
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

// await waits as the client did before it asked for a cluster again.
func (p *Player) await(where, path string) {
	uid := path[strings.LastIndexByte(path, '/')+1:]
	w, known := p.last[uid]
	if !known {
		return
	}
	until := func(what string, ok func() bool) {
		if !p.Await(ok) {
			p.report(where, w.operation, "the client waits in vain until "+what+": "+unsettled(p.read("/v1/spectroclusters/"+uid)))
		}
	}
	switch w.operation {
	case "v1SpectroClustersDelete":
		until("the cluster is Deleted", func() bool { return p.state(uid) == "Deleted" })
	case "v1SpectroClustersPatchProfiles":
		room := p.Model.roomy(uid)
		until("the profile is applied", func() bool { return applied(p.read("/v1/spectroclusters/"+uid), w.profile, room) })
	default:
		until("the cluster is Running", func() bool { return p.state(uid) == "Running" })
		p.ran[uid] = true
		if p.Model.networked(uid) { // nodes are never ready without
			until("the cluster is Healthy", func() bool {
				return text(p.read("/v1/dashboard/spectroclusters/"+uid+"/overview"), "status.health.state") == "Healthy"
			})
		}
	}
}

// applied reports whether a profile is in place as the client sees it: an
// add-on when nothing of the cluster is unsettled and each of the profile's
// packs is ready, a swapped profile when it can be applied. Where pods have no
// node to run on (all that were recorded are tainted), a right hub cannot say
// that a workload is available: then it has to be at work on each pack.
func applied(c any, profile string, room bool) bool {
	if can, is := at(c, "status.spcApply.canBeApplied").(bool); !is || !can {
		return false
	}
	if profile == "" {
		return true
	}
	if room && unsettled(c) != "" {
		return false
	}
	of := 0
	for _, pack := range items(c, "status.packs") {
		if text(pack, "profileUid") != profile {
			continue
		}
		of++
		if !settled(pack) && (room || text(pack, "startTime") == "") {
			return false
		}
	}
	return of > 0
}

func settled(pack any) bool {
	return text(pack, "condition.type") == "Ready" && text(pack, "condition.status") == "True"
}

// unsettled tells what of a cluster is not as it shall be.
func unsettled(c any) string {
	var out []string
	for _, cond := range items(c, "status.conditions") {
		if text(cond, "status") != "True" {
			out = append(out, text(cond, "type")+": "+text(cond, "message"))
		}
	}
	return strings.Join(out, "; ")
}

func (p *Player) state(uid string) string {
	return text(p.read("/v1/spectroclusters/"+uid), "status.state")
}

// read gets what is not part of the recording.
func (p *Player) read(path string) any {
	a, faults := p.exchange(http.MethodGet, path, map[string]string{}, nil)
	for _, f := range faults {
		p.report("while waiting", f.Operation, f.Message)
	}
	v, err := parse(a.Body)
	if err != nil || a.Status != http.StatusOK {
		return nil
	}
	return v
}

// Settle waits until each pool of the clusters that came up has the machines
// that were last asked for, which the client never waits for.
func (p *Player) Settle() {
	const operation = "v1CloudConfigsAzurePoolMachinesList"
	for _, uid := range slices.Sorted(maps.Keys(p.ran)) {
		config, pools := p.Model.poolsOf(uid)
		for _, name := range slices.Sorted(maps.Keys(pools)) {
			path := "/v1/cloudconfigs/azure/" + config + "/machinePools/" + name + "/machines"
			var got list
			if !p.Await(func() bool {
				got = items(p.read(path), "items")
				return len(got) == pools[name] && !slices.ContainsFunc(got, func(m any) bool { return text(m, "status.instanceState") != "Running" })
			}) {
				p.report("afterwards", operation, fmt.Sprintf("%s never has %d machines that run: %s", path, pools[name], show(got)))
			}
		}
	}
}

// Clean deletes what a session left, as the client would: what a cluster used
// can go the moment that the cluster reads Deleted.
func (p *Player) Clean() {
	clusters, profiles, accounts, projects := p.Model.Alive()
	for _, uid := range clusters {
		p.remove("/v1/spectroclusters/" + uid)
	}
	for _, uid := range clusters {
		if !p.Await(func() bool { return p.state(uid) == "Deleted" }) {
			p.report("afterwards", "v1SpectroClustersDelete", "the cluster is never Deleted")
		}
	}
	for path, uids := range map[string][]string{"/v1/clusterprofiles/": profiles, "/v1/cloudaccounts/azure/": accounts, "/v1/projects/": projects} {
		for _, uid := range uids {
			p.remove(path + uid)
		}
	}
	if macros := p.Model.macrosOf(p.Hub.Project); len(macros) > 0 {
		body, err := json.Marshal(object{"macros": macros})
		if err != nil {
			p.report("afterwards", "", err.Error())
		}
		p.exchange(http.MethodDelete, "/v1/projects/"+p.Hub.Project+"/macros", map[string]string{"Content-Type": "application/json"}, body)
	}
}

func (p *Player) remove(path string) {
	a, faults := p.exchange(http.MethodDelete, path, map[string]string{"Projectuid": p.Hub.Project}, nil)
	operation := p.Model.Operation(http.MethodDelete, path)
	if a.Status != http.StatusNoContent {
		p.report("afterwards", operation, fmt.Sprintf("DELETE %s: status %d: %s", path, a.Status, bytes.TrimSpace(a.Body)))
	}
	for _, f := range faults {
		p.report("afterwards", f.Operation, f.Message)
	}
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
