// Command cluster is a whole Kubernetes in one binary: the first argument picks
// the component.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	crane "github.com/google/go-containerregistry/cmd/crane/cmd"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Functions, since making one component's command may register flags globally.
var components = map[string]func() int{
	"crane":                   plain(func() *cobra.Command { return crane.Root }),
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"image":                   plain(newImageCommand),
	"kube-apiserver":          kubernetes(apiserver.NewAPIServerCommand),
	"kube-controller-manager": kubernetes(controllermanager.NewControllerManagerCommand),
	"kube-proxy":              kubernetes(proxy.NewProxyCommand),
	"kube-scheduler":          kubernetes(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubectl":                 kubernetes(kubectl.NewDefaultKubectlCommand),
	"kubelet":                 kubernetes(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
}

func main() {
	names := slices.Sorted(maps.Keys(components))
	name, args := component(names)
	run, ok := components[name]
	if !ok {
		fmt.Fprintln(os.Stderr, "usage: cluster "+strings.Join(names, "|")+" ...")
		os.Exit(2)
	}
	os.Args = args
	os.Exit(run())
}

// component looks at the name that the binary was called by first, so that a
// link named kubectl is kubectl.
func component(names []string) (string, []string) {
	called := os.Args[0][strings.LastIndex(os.Args[0], "/")+1:]
	if slices.Contains(names, called) || len(os.Args) < 2 {
		return called, os.Args
	}
	return os.Args[1], os.Args[1:]
}

func kubernetes(command func() *cobra.Command) func() int {
	return func() int { return cli.Run(command()) }
}

// plain is for commands with flags of their own where Kubernetes has its logging flags.
func plain(command func() *cobra.Command) func() int {
	return func() int {
		if err := command().ExecuteContext(context.Background()); err != nil {
			return 1
		}
		return 0
	}
}
