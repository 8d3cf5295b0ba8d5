package main

import (
	"compress/gzip"

	"github.com/google/go-containerregistry/pkg/crane"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/spf13/cobra"
)

type imageOptions struct {
	tag, layer, output, architecture string
	config                           v1.Config
}

// newImageCommand makes an image of one layer in one go; `crane append` and
// `crane mutate` need a registry between them.
func newImageCommand() *cobra.Command {
	o := imageOptions{}
	command := &cobra.Command{
		Use:          "image",
		Short:        "Make an image of one tar file; push it, or write it to a file",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(*cobra.Command, []string) error { return o.run() },
	}
	flags := command.Flags()
	flags.StringVar(&o.tag, "tag", "", "the image's reference, with its registry")
	flags.StringVar(&o.layer, "layer", "", "tar file of the image's files")
	flags.StringVar(&o.output, "output", "", "write an archive to this file, do not push")
	flags.StringVar(&o.architecture, "architecture", "amd64", "GOARCH of the image")
	flags.StringVar(&o.config.User, "user", "", "user the image runs as")
	flags.StringArrayVar(&o.config.Entrypoint, "entrypoint", nil, "one argument of the entrypoint; repeat")
	flags.StringArrayVar(&o.config.Cmd, "cmd", nil, "one argument of the command; repeat")
	flags.StringArrayVar(&o.config.Env, "env", nil, "NAME=VALUE; repeat")
	_ = command.MarkFlagRequired("tag")
	_ = command.MarkFlagRequired("layer")
	return command
}

func (o *imageOptions) run() error {
	image, err := o.build()
	if err != nil {
		return err
	}
	if o.output != "" {
		return crane.Save(image, o.tag, o.output)
	}
	return crane.Push(image, o.tag, crane.Insecure)
}

func (o *imageOptions) build() (v1.Image, error) {
	layer, err := tarball.LayerFromFile(o.layer,
		tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", o.architecture, o.config
	return mutate.ConfigFile(image, file)
}
