// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"

	"github.com/lazuli-dev/lazuli/internal/cli/manifest"
	"github.com/lazuli-dev/lazuli/internal/client"
	"github.com/lazuli-dev/lazuli/internal/palette"
)

func (a *app) profileCommand() *cobra.Command {
	return group(&cobra.Command{Use: "profile", Aliases: []string{"profiles"}, Short: "Cluster profiles: what clusters are made of"},
		a.profileCreate(), a.profileList(), a.profileGet(), a.profilePublish(), a.profileDelete())
}

func (a *app) profileCreate() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "create -f FILE", Short: "Store and publish the profiles of a manifest", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.applyFile(cmd.Context(), file, manifest.KindClusterProfile)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "manifest, or - for standard input")
	return cmd
}

func (a *app) profileList() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List profiles and their versions", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			items, err := c.Profiles(cmd.Context())
			if err != nil {
				return err
			}
			slices.SortStableFunc(items, func(x, y palette.ClusterProfileMetadata) int {
				return cmp.Or(cmp.Compare(x.Metadata.Name, y.Metadata.Name), compareVersions(x.Spec.Version, y.Spec.Version))
			})
			rows := make([][]string, 0, len(items))
			for _, p := range items {
				rows = append(rows, []string{p.Metadata.Name, p.Spec.Version, p.Spec.CloudType, p.Metadata.UID})
			}
			return a.print(form, items, []string{"NAME", "VERSION", "CLOUD", "UID"}, rows)
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

// compareVersions orders semantic versions; others by their text.
func compareVersions(x, y string) int {
	a, errA := semver.NewVersion(x)
	b, errB := semver.NewVersion(y)
	if errA != nil || errB != nil {
		return cmp.Compare(x, y)
	}
	return a.Compare(b)
}

func (a *app) profileGet() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "get NAME[@VERSION]", Short: "Show the layers of a profile", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withProfile(cmd.Context(), args[0], func(c *client.Client, found palette.ClusterProfileMetadata) error {
				p, err := c.Profile(cmd.Context(), found.Metadata.UID)
				if err != nil {
					return err
				}
				var rows [][]string
				for _, l := range layersOf(p) {
					rows = append(rows, []string{l.Layer, l.Name, l.Tag, l.Version, l.Type})
				}
				if form == formTable {
					state := "draft"
					if p.Status.IsPublished {
						state = "published"
					}
					if err := a.printf("%s %s, %s\n\n", p.Metadata.Name, p.Spec.Version, state); err != nil {
						return err
					}
				}
				return a.print(form, p, []string{"LAYER", "PACK", "TAG", "VERSION", "TYPE"}, rows)
			})
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

func count(n int, one, many string) string { return strconv.Itoa(n) + " " + plural(n, one, many) }

// layersOf are the published layers, or the draft's.
func layersOf(p palette.ClusterProfile) []palette.PackRef {
	switch {
	case p.Spec == nil:
		return nil
	case p.Spec.Draft != nil:
		return p.Spec.Draft.Packs
	case p.Spec.Published != nil:
		return p.Spec.Published.Packs
	default:
		return nil
	}
}

func (a *app) profilePublish() *cobra.Command {
	return &cobra.Command{
		Use: "publish NAME[@VERSION]", Short: "Make the draft of a profile what clusters get", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withProfile(cmd.Context(), args[0], func(c *client.Client, p palette.ClusterProfileMetadata) error {
				if err := c.PublishProfile(cmd.Context(), p.Metadata.UID); err != nil {
					return err
				}
				return a.printf("cluster profile %s@%s published\n", p.Metadata.Name, p.Spec.Version)
			})
		},
	}
}

func (a *app) profileDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME[@VERSION]", Aliases: []string{"rm"}, Short: "Delete a version that no cluster uses",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withProfile(cmd.Context(), args[0], func(c *client.Client, p palette.ClusterProfileMetadata) error {
				if err := c.DeleteProfile(cmd.Context(), p.Metadata.UID); err != nil {
					return err
				}
				return a.printf("cluster profile %s@%s deleted\n", p.Metadata.Name, p.Spec.Version)
			})
		},
	}
}

func (a *app) withProfile(
	ctx context.Context, want string, fn func(*client.Client, palette.ClusterProfileMetadata) error,
) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	p, err := findProfile(ctx, c, want)
	if err != nil {
		return err
	}
	return fn(c, p)
}

func (a *app) packCommand() *cobra.Command {
	return group(&cobra.Command{Use: "pack", Aliases: []string{"packs"}, Short: "Packs: the layers that profiles are built of"},
		a.packList())
}

func (a *app) packList() *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List packs and their versions", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			items, err := c.Packs(cmd.Context())
			if err != nil {
				return err
			}
			slices.SortStableFunc(items, func(x, y palette.PackSummary) int {
				return cmp.Or(cmp.Compare(layerRank(x.Spec.Layer), layerRank(y.Spec.Layer)),
					cmp.Compare(x.Spec.Name, y.Spec.Name), compareVersions(x.Spec.Version, y.Spec.Version))
			})
			rows := make([][]string, 0, len(items))
			for _, p := range items {
				rows = append(rows, []string{
					p.Spec.Layer, p.Spec.Name, p.Spec.Version, strings.Join(p.Spec.CloudTypes, ","), p.Spec.DisplayName,
				})
			}
			return a.print(form, items, []string{"LAYER", "NAME", "VERSION", "CLOUDS", "TITLE"}, rows)
		},
	}
	outputFlag(cmd, &form)
	return cmd
}

// layerRank orders layers as they are built on each other.
func layerRank(layer string) int {
	order := []string{"kernel", "os", "k8s", "cni", "csi", "addon"}
	if i := slices.Index(order, layer); i >= 0 {
		return i
	}
	return len(order)
}

// profileDiffers says in what a stored profile is not what a manifest wants;
// "" when it is. Values that the manifest leaves out are the pack's own.
func profileDiffers(want palette.ClusterProfileEntity, have palette.ClusterProfile) string {
	if have.Spec == nil {
		return "it has no content"
	}
	if t := have.Spec.Published; t != nil && t.Type != want.Spec.Template.Type {
		return fmt.Sprintf("its type is %s, not %s", t.Type, want.Spec.Template.Type)
	}
	layers := layersOf(have)
	if len(layers) != len(want.Spec.Template.Packs) {
		return fmt.Sprintf("it has %s, not %d", count(len(layers), "layer", "layers"), len(want.Spec.Template.Packs))
	}
	for i, p := range want.Spec.Template.Packs {
		l := layers[i]
		if l.Name != p.Name || l.Tag != p.Tag {
			return fmt.Sprintf("layer %d is %s %s, not %s %s", i+1, l.Name, l.Tag, p.Name, p.Tag)
		}
		if p.Values != "" && strings.TrimSpace(l.Values) != p.Values {
			return fmt.Sprintf("layer %d (%s) has other values", i+1, l.Name)
		}
	}
	return ""
}
