// SPDX-License-Identifier: Apache-2.0

package azuresim_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lazuli-dev/lazuli/internal/azuresim"
)

// entry is what the model remembers of an availability set: a type without asynchronous operations.
type entry struct {
	id, tag string
	faults  int
}

// TestStoreAgainstModel makes random calls on one synchronous type and compares every answer with a map.
func TestStoreAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		// A million times faster: the buckets that limit requests are always full.
		s, err := azuresim.New(azuresim.Config{Speed: 1e6, NoLatency: true, PageSize: rapid.IntRange(1, 4).Draw(rt, "page")})
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		w := world()
		w.ResourceGroups = append(w.ResourceGroups, azuresim.ResourceGroup{SubscriptionID: sub, Name: "Prod-2", Location: "eastus"})
		if err := s.Seed(w); err != nil {
			rt.Fatal(err)
		}
		r := login(t, s, client)
		model := map[string]entry{}
		name := rapid.Custom(func(rt *rapid.T) string {
			n := rapid.SampledFrom([]string{"a", "ab", "b", "c-1", "c.1"}).Draw(rt, "name")
			if rapid.Bool().Draw(rt, "upper") {
				n = strings.ToUpper(n)
			}
			g := rapid.SampledFrom([]string{"Prod", "PROD", "Prod-2"}).Draw(rt, "group")
			return "/subscriptions/" + sub + "/resourceGroups/" + g + "/providers/Microsoft.Compute/availabilitySets/" + n
		})
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				id, tag, faults := name.Draw(rt, "id"), rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "tag"), rapid.IntRange(1, 3).Draw(rt, "faults")
				code, body, _ := r.arm(http.MethodPut, id, fmt.Sprintf(`{"location":"eastus","tags":{"t":%q},"properties":{"platformFaultDomainCount":%d}}`, tag, faults))
				want, first := 200, id
				if old, there := model[strings.ToLower(id)]; there {
					first = old.id
				} else {
					want = 201
				}
				model[strings.ToLower(id)] = entry{first, tag, faults}
				if code != want || body["id"] != first {
					rt.Fatalf("put %s: %d %v, want %d %s", id, code, body["id"], want, first)
				}
			},
			"delete": func(rt *rapid.T) {
				id := name.Draw(rt, "id")
				want := 204
				if _, there := model[strings.ToLower(id)]; there {
					want = 200
				}
				delete(model, strings.ToLower(id))
				if code, body, _ := r.arm(http.MethodDelete, id, ""); code != want {
					rt.Fatalf("delete %s: %d %v, want %d", id, code, body, want)
				}
			},
			"get": func(rt *rapid.T) {
				id := name.Draw(rt, "id")
				code, body, _ := r.arm(http.MethodGet, id, "")
				e, there := model[strings.ToLower(id)]
				if !there {
					if code != 404 {
						rt.Fatalf("get absent %s: %d", id, code)
					}
					return
				}
				if code != 200 || body["id"] != e.id || dig(body, "tags", "t") != e.tag || dig(body, "properties", "platformFaultDomainCount") != float64(e.faults) {
					rt.Fatalf("get %s: %d %v, want %v", id, code, body, e)
				}
			},
			"list": func(rt *rapid.T) { compareLists(rt, r, model) },
		})
	})
}

// compareLists walks the pages of the lists and wants each resource once, in the order of the ids.
func compareLists(rt *rapid.T, r *rest, model map[string]entry) {
	r.t.Helper()
	for _, list := range []struct{ path, prefix, tag string }{
		{"/subscriptions/" + sub + "/resources?$expand=provisioningState", "/subscriptions/", ""},
		{"/subscriptions/" + sub + "/resources?$filter=tagName%20eq%20't'%20and%20tagValue%20eq%20'x'", "/subscriptions/", "x"},
		{"/subscriptions/" + sub + "/resourceGroups/prod/providers/Microsoft.Compute/availabilitySets?x=1", "/subscriptions/" + sub + "/resourcegroups/prod/", ""},
	} {
		var keys, want, got []string
		for k, e := range model {
			if strings.HasPrefix(k, list.prefix) && (list.tag == "" || e.tag == list.tag) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			want = append(want, model[k].id)
		}
		_, body, _ := r.arm(http.MethodGet, list.path, "")
		for {
			page, _ := body["value"].([]any)
			for _, v := range page {
				got = append(got, fmt.Sprint(dig(v, "id")))
			}
			next, _ := body["nextLink"].(string)
			if next == "" {
				break
			}
			_, body, _ = r.send(http.MethodGet, strings.TrimPrefix(next, "https://"+host), "", nil)
		}
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatalf("%s (-want +got):\n%s", list.path, d)
		}
	}
}
