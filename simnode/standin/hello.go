// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Hello answers every HTTP request with the host's name, which in a pod is the pod's. "get URL" asks another one and
// prints its answer: an image made from nothing has no other client.
func Hello(arguments []string) error {
	if len(arguments) == 2 && arguments[0] == "get" {
		return ask(arguments[1])
	}
	flags := flag.NewFlagSet("hello", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "address to listen on")
	if err := flags.Parse(arguments); err != nil {
		return err //nolint:wrapcheck // names the flag
	}
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read the host's name: %w", err)
	}
	server := &http.Server{
		Addr: *listen, ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) }),
	}
	fmt.Printf("hello from %s on %s\n", name, *listen)
	return server.ListenAndServe() //nolint:wrapcheck // names the address
}

func ask(url string) error {
	client := &http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url) //nolint:noctx // the client's timeout bounds it
	if err != nil {
		return err //nolint:wrapcheck // names the URL
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	_, err = io.Copy(os.Stdout, resp.Body)
	return err //nolint:wrapcheck // a broken pipe
}
