// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-dev/lazuli/internal/contract"
)

func load(t *testing.T) *contract.Contract {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReadRequest(t *testing.T) {
	t.Parallel()
	const create, pool = "v1SpectroClustersAzureCreate", "v1CloudConfigsAzureMachinePoolCreate"
	for _, tt := range []struct {
		reason, operation, body string
		want                    []contract.Fault
	}{
		{"what a client of the wire sends beside the point", pool, `{"cloudConfig":{"azs":null,"osDisk":null},"poolConfig":{"name":"w","size":1,"labels":null,
			"updateStrategy":{"type":""},"taints":[{"effect":"NoSchedule","key":"k","timeAdded":"0001-01-01T00:00:00.000Z"}]},"unheardOf":{"a":1}}`, nil},
		{"a list where an object is needed", pool, `{"cloudConfig":[],"poolConfig":{"name":"w","size":1,"labels":[]}}`,
			[]contract.Fault{{"cloudConfig", "is an array, where an object is needed"}}},
		{"every fault is named", pool, `{"cloudConfig":{"osDisk":{"diskSizeGB":1.5}},"poolConfig":{"size":"1","labels":[7],"updateStrategy":{"type":"Sideways"}}}`, []contract.Fault{
			{"cloudConfig.osDisk.diskSizeGB", "1.5 is not a whole number of 32 bits"},
			{"poolConfig.name", "is missing"},
			{"poolConfig.labels[0]", "is a number, where a string is needed"},
			{"poolConfig.size", "is a string, where a number is needed"},
			{"poolConfig.updateStrategy.type", `"Sideways" is none of RollingUpdateScaleOut, RollingUpdateScaleIn, OverrideScaling`},
		}},
		{"a number too large for 32 bits", pool, `{"cloudConfig":{},"poolConfig":{"name":"w","size":3000000000,"labels":[]}}`,
			[]contract.Fault{{"poolConfig.size", "3000000000 is not a whole number of 32 bits"}}},
		{"a null in a list", create, `{"spec":{"cloudAccountUid":"a","cloudConfig":{"location":"l","sshKey":"k","subscriptionId":"s"},"machinepoolconfig":[null]}}`,
			[]contract.Fault{{"spec.machinepoolconfig[0]", "is null"}}},
		{"the body itself", create, `"x"`, []contract.Fault{{"", "is a string, where an object is needed"}}},
		{"an operation without a body", "v1SpectroClustersGet", `1`, nil},
		{"an operation that is not there", "nope", `1`, nil},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			_, got, err := load(t).ReadRequest(tt.operation, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What the document does not name goes no further, however deep it is, and the
// rest is what was sent.
func TestReadRequestDropsTheUnknown(t *testing.T) {
	t.Parallel()
	const pool = "v1CloudConfigsAzureMachinePoolCreate"
	for _, tt := range []struct{ reason, operation, body, want string }{
		{"nothing is unknown", pool, ` {"poolConfig":{"size":1,"name":"w"},  "cloudConfig":null}`, ` {"poolConfig":{"size":1,"name":"w"},  "cloudConfig":null}`},
		{"on all levels", pool, `{"a":{"size":1},"poolConfig":{"b":null,"name":"<w>","size":1,"taints":[{"key":"k","c":[{}]}]}}`,
			`{"poolConfig":{"name":"<w>","size":1,"taints":[{"key":"k"}]}}` + "\n"},
		{"letters of another case", pool, `{"PoolConfig":{},"poolConfig":{"Size":2,"size":12345678901234567890}}`, `{"poolConfig":{"size":12345678901234567890}}` + "\n"},
		{"keys that are the caller's", pool, `{"poolConfig":{"additionalLabels":{"any":"x"}}}`, `{"poolConfig":{"additionalLabels":{"any":"x"}}}`},
		{"an operation that is not there", "nope", `{"a":1}`, `{"a":1}`},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			got, _, err := load(t).ReadRequest(tt.operation, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("%s\nread as %s\nwant    %s", tt.body, got, tt.want)
			}
		})
	}
}

// Requests are read without composition, which the document does without.
func TestDocumentComposesNothing(t *testing.T) {
	t.Parallel()
	if found := regexp.MustCompile(`\b(allOf|anyOf|oneOf|not):`).FindAll(contract.Document(), -1); found != nil {
		t.Errorf("the document says %q, which ReadRequest does not know", found)
	}
}

func TestCheckAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason, operation string
		status            int
		kind, body        string
		want              string // part of the error, "" for none
	}{
		{"a creation", "v1SpectroClustersAzureCreate", 201, "application/json", `{"uid":"x"}`, ""},
		{"another success", "v1SpectroClustersAzureCreate", 200, "application/json", `{"uid":"x"}`, "answers 200, the contract says 201"},
		{"a member that is missing", "v1SpectroClustersAzureCreate", 201, "application/json", `{}`, "uid"},
		{"a member that nobody named", "v1SpectroClustersAzureCreate", 201, "application/json", `{"uid":"x","more":1}`, "more"},
		{"a null", "v1SpectroClustersAzureCreate", 201, "application/json", `{"uid":null}`, "uid"},
		{"an error", "v1SpectroClustersAzureCreate", 400, "application/json", `{"code":"InvalidField","message":"m"}`, ""},
		{"an error of another form", "v1SpectroClustersAzureCreate", 400, "application/json", `{"error":"m"}`, "error"},
		{"an error as text", "v1SpectroClustersAzureCreate", 400, "text/plain", `no`, "its type is"},
		{"nothing", "v1SpectroClustersDelete", 204, "", ``, ""},
		{"a body where there is none", "v1SpectroClustersDelete", 204, "application/json", `{}`, "body of 2 bytes"},
		{"a file", "v1SpectroClustersUidAdminKubeConfig", 200, "application/octet-stream", "apiVersion: v1", ""},
		{"a file of another type", "v1SpectroClustersUidAdminKubeConfig", 200, "application/yaml", "apiVersion: v1", "its type is"},
		{"an operation that is not there", "nope", 200, "", "", "no such operation"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			err := load(t).CheckAnswer(tt.operation, tt.status, http.Header{"Content-Type": {tt.kind}}, []byte(tt.body))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestOperations(t *testing.T) {
	t.Parallel()
	ops := contract.Operations()
	if len(ops) != 1198 {
		t.Errorf("%d operations, Palette 4.9 has 1198", len(ops))
	}
	known := map[string]bool{}
	for _, op := range ops {
		if op.ID == "" || !strings.HasPrefix(op.Path, "/v1/") {
			t.Errorf("%+v", op)
		}
		known[op.Method+" "+op.Path+" "+op.ID] = true
	}
	for _, op := range load(t).Served() {
		if strings.HasPrefix(op.Path, "/v1/") && op.ID != "v1SpectroClustersList" && !known[op.Method+" "+op.Path+" "+op.ID] {
			t.Errorf("the document has %s %s as %s, Palette does not", op.Method, op.Path, op.ID)
		}
	}
}
