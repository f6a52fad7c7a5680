// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/cli/manifest"
	"github.com/lazuli-dev/lazuli/internal/client"
)

// stdinName stands for standard input.
const stdinName = "-"

// maxManifest bounds what is read of a file.
const maxManifest = 8 << 20

func (a *app) applyCommand() *cobra.Command {
	var file string
	var wait waitFlags
	cmd := &cobra.Command{
		Use: "apply -f FILE", Short: "Create or update what a manifest declares", Args: cobra.NoArgs,
		Long: `Create or update what a manifest declares: cloud accounts, cluster profiles and clusters, as
documents of one YAML file. Applying it again changes nothing that is as declared.

${NAME} stands for an environment variable, in values only; $${ is a literal ${.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := wait.bound(cmd.Context())
			defer cancel()
			return a.applyAndWait(ctx, file, wait.wait)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "manifest, or - for standard input")
	wait.add(cmd, "show progress until the clusters run")
	return cmd
}

// applyFile applies the documents of a file, all of one kind when only is set.
func (a *app) applyFile(ctx context.Context, file, only string) error {
	docs, err := a.readManifest(file)
	if err != nil {
		return err
	}
	for _, d := range docs {
		if only != "" && d.Kind != only {
			return usagef("%s:%d: a %s does not belong here; use `lazuli apply`", d.Source, d.Line, d.Kind)
		}
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = a.applyDocuments(ctx, c, docs)
	return err
}

func (a *app) applyAndWait(ctx context.Context, file string, wait bool) error {
	docs, err := a.readManifest(file)
	if err != nil {
		return err
	}
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	clusters, err := a.applyDocuments(ctx, c, docs)
	if err != nil || !wait {
		return err
	}
	for _, uid := range clusters {
		if err := a.follow(ctx, c, uid, untilRunning); err != nil {
			return err
		}
	}
	return nil
}

// readManifest reads, parses and completes a file.
func (a *app) readManifest(file string) ([]manifest.Document, error) {
	if file == "" {
		return nil, usagef("-f FILE is required; - reads standard input")
	}
	in := a.stdin
	dir := "."
	if file != stdinName {
		f, err := os.Open(file)
		if err != nil {
			return nil, &usageError{err: fmt.Errorf("open manifest: %w", err)}
		}
		defer f.Close() //nolint:errcheck // read only
		in, dir = f, filepath.Dir(file)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxManifest))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return a.parseManifest(file, dir, data)
}

func (a *app) parseManifest(source, dir string, data []byte) ([]manifest.Document, error) {
	docs, err := manifest.Parse(source, data, a.getenv)
	if err != nil {
		return nil, &usageError{err: err}
	}
	for i := range docs {
		if err := loadSSHKey(&docs[i], dir); err != nil {
			return nil, &usageError{err: err}
		}
	}
	// What others refer to comes first, whatever its place in the file.
	rank := []string{manifest.KindCloudAccount, manifest.KindClusterProfile, manifest.KindCluster}
	slices.SortStableFunc(docs, func(x, y manifest.Document) int {
		return slices.Index(rank, x.Kind) - slices.Index(rank, y.Kind)
	})
	return docs, nil
}

// loadSSHKey replaces sshKeyFile by its content.
func loadSSHKey(d *manifest.Document, dir string) error {
	if d.Cluster == nil || d.Cluster.SSHKeyFile == "" {
		return nil
	}
	name, where := d.Cluster.SSHKeyFile, d.Locate("spec.sshKeyFile")
	if d.Source == "" {
		where = "--ssh-key-file"
	}
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		name = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	key, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if strings.Contains(string(key), "PRIVATE KEY") {
		return fmt.Errorf("%s: holds a private key; give the public one", where)
	}
	d.Cluster.SSHKey = strings.TrimSpace(string(key))
	return nil
}

// applyDocuments applies documents in order and returns the clusters' uids.
func (a *app) applyDocuments(ctx context.Context, c *client.Client, docs []manifest.Document) ([]string, error) {
	var clusters []string
	for _, d := range docs {
		var err error
		switch d.Kind {
		case manifest.KindCloudAccount:
			err = a.applyAccount(ctx, c, d)
		case manifest.KindClusterProfile:
			err = a.applyProfile(ctx, c, d)
		default:
			var uid string
			uid, err = a.applyCluster(ctx, c, d)
			clusters = append(clusters, uid)
		}
		if err != nil {
			return nil, located(d, err)
		}
	}
	return clusters, nil
}

// located names what the user wrote instead of the fields on the wire.
func located(d manifest.Document, err error) error {
	e, ok := errors.AsType[*lazuli.Error](err)
	if !ok {
		return err
	}
	refused, told := errors.AsType[*client.RefusedError](err)
	switch {
	case told && len(e.Fields) > 0:
	case d.Source == "":
		return err
	default:
		return fmt.Errorf("%s:%d: %w", d.Source, d.Line, err)
	}
	out := *e
	out.Fields = make([]lazuli.FieldError, 0, len(e.Fields))
	for _, f := range e.Fields {
		out.Fields = append(out.Fields, lazuli.FieldError{Path: d.Locate(f.Path), Message: f.Message})
	}
	out.Message = out.Fields[0].Path + ": " + out.Fields[0].Message
	acts, _, _ := strings.Cut(err.Error(), e.Error())
	return fmt.Errorf("%s%w", acts, &client.RefusedError{Status: refused.Status, Err: &out})
}

func (a *app) applyAccount(ctx context.Context, c *client.Client, d manifest.Document) error {
	body := d.AccountRequest()
	have, err := findAccount(ctx, c, d.Name)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound:
		if _, err := c.CreateAccount(ctx, body); err != nil {
			return err
		}
		return a.printf("cloud account %s created\n", d.Name)
	case err != nil:
		return err
	}
	// The secret cannot be read back, so whether it changed is the hub's to find.
	body.Metadata.UID = have.Metadata.UID
	if err := c.UpdateAccount(ctx, have.Metadata.UID, body); err != nil {
		return err
	}
	return a.printf("cloud account %s updated\n", d.Name)
}

func (a *app) applyProfile(ctx context.Context, c *client.Client, d manifest.Document) error {
	body := d.ProfileRequest()
	name := d.Name + "@" + d.Profile.Version
	have, err := findProfile(ctx, c, name)
	switch {
	case lazuli.CodeOf(err) == lazuli.CodeNotFound:
		uid, err := c.CreateProfile(ctx, body)
		if err != nil {
			return err
		}
		if err := c.PublishProfile(ctx, uid); err != nil {
			return err
		}
		return a.printf("cluster profile %s created\n", name)
	case err != nil:
		return err
	}
	full, err := c.Profile(ctx, have.Metadata.UID)
	if err != nil {
		return err
	}
	if why := profileDiffers(body, full); why != "" {
		return &usageError{err: &lazuli.Error{
			Code: lazuli.CodeConflict, Message: fmt.Sprintf("cluster profile %s exists with other content: %s", name, why),
			Remedy: "give the manifest a new spec.version; a version that clusters may use never changes",
		}}
	}
	if full.Status.IsPublished {
		return a.printf("cluster profile %s unchanged\n", name)
	}
	if err := c.PublishProfile(ctx, full.Metadata.UID); err != nil {
		return err
	}
	return a.printf("cluster profile %s published\n", name)
}

func (a *app) applyCluster(ctx context.Context, c *client.Client, d manifest.Document) (string, error) {
	have, err := findCluster(ctx, c, d.Name)
	if err == nil {
		return have.Metadata.UID, a.printf("cluster %s exists (%s); changes of a cluster are not applied yet\n",
			d.Name, have.Status.State)
	}
	if lazuli.CodeOf(err) != lazuli.CodeNotFound {
		return "", err
	}
	refs, err := resolve(ctx, c, d)
	if err != nil {
		return "", err
	}
	uid, err := c.CreateCluster(ctx, d.ClusterRequest(refs))
	if err != nil {
		return "", err
	}
	return uid, a.printf("cluster %s created: %s\n", d.Name, uid)
}

// resolve turns the names of a cluster's account and profiles into uids.
func resolve(ctx context.Context, c *client.Client, d manifest.Document) (manifest.ClusterRefs, error) {
	var refs manifest.ClusterRefs
	account, err := findAccount(ctx, c, d.Cluster.Account)
	if err != nil {
		return refs, fmt.Errorf("spec.account: %w", err)
	}
	refs.AccountUID = account.Metadata.UID
	for i, want := range d.Cluster.Profiles {
		p, err := findProfile(ctx, c, want)
		if err != nil {
			return refs, fmt.Errorf("spec.profiles[%d]: %w", i, err)
		}
		refs.ProfileUIDs = append(refs.ProfileUIDs, p.Metadata.UID)
	}
	return refs, nil
}
