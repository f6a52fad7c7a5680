// SPDX-License-Identifier: Apache-2.0

// Package azure carries the plain values of internal/azure/resource out to
// Azure Resource Manager and brings the answers back as plain facts. It is the
// only place that imports the SDK.
//
// One call of a method is at most one step of the protocol:
//
//	Put ----> 200/201, provisioningState Succeeded -------------> StateSucceeded with facts
//	   \----> 201/202, Azure-AsyncOperation or Location ---------> StateWorking with PollURL, RetryAfter
//	Poll(PollURL) -> Working | Succeeded | Failed | Unknown ----> one GET, never a loop
//	Get(id) -------> Absent | Working | Succeeded | Failed | Deleting
//	Delete(id) ----> Absent (204, 404) | Deleting with PollURL
//
// A poll that answers Unknown (the operation expired) or whose answer was lost
// is settled by Get: ids are known before anything exists.
//
// Where Azure answers, errors are *lazuli.Error with a *resource.Failure as
// cause, made by the one table of errors_table.go. Every request passes the
// budget of its bucket (budget.go) and goes to the host of the cloud's own
// Resource Manager or nowhere.
//
// The package refuses to wait for an operation, to repeat a request, to
// register resource providers, to decide what should exist, to keep state
// beyond caches of tokens, look-ups and budgets, and to show a secret in an
// error or a log line.
package azure
