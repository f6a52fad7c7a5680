// SPDX-License-Identifier: Apache-2.0

// Package tape plays recorded requests of an unmodified client of the wire to a
// hub, and knows what the client needs to find in the answers.
//
// A tape is what a recorder in place of a hub was asked, in order. Load cuts it
// into sessions, one for each life of the recorder. A Player sends a session to
// a hub: what names a place of the recorder (uids, the credential,
// subscription, group and region, the SSH key, packs and their versions) is
// replaced by the hub's own, and nothing else.
//
// A Model watches exchanges, remembers what was written, and names what an
// answer breaks: members without which the client panics, what must come back
// as it was last written since the client would plan a change otherwise, and
// what always holds of an object. It needs nothing but the exchanges, so that
// any test that talks to a hub can have one watch.
//
// The package is for tests alone. It refuses to know how a hub works, to look
// into one, and to forgive: what a hub does not do yet stands in one table, with
// the reason.
package tape
