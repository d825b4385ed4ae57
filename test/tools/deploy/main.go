// Deploycheck checks what docker/ has for others to run, with the code of those who run it: Dockerfiles with BuildKit's
// linter (docker build --check), compose.yaml with Compose's loader, Kubernetes manifests against Kubernetes' own types
// and the task definition against the fields that ECS has. It makes no request. Its argument is the top of the repository.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: deploycheck DIRECTORY")
		os.Exit(2)
	}
	docker := filepath.Join(os.Args[1], "docker")
	err := errors.Join(
		dockerfile(filepath.Join(docker, "Dockerfile")),
		dockerfile(filepath.Join(docker, "trial.Dockerfile")),
		compose(filepath.Join(docker, "compose.yaml")),
		manifests(filepath.Join(docker, "kubernetes", "daemonset.yaml")),
		manifests(filepath.Join(docker, "kubernetes", "fluent-operator.yaml")),
		values(filepath.Join(docker, "kubernetes", "helm-values.yaml")),
		values(filepath.Join(docker, "kubernetes", "helm-values-plugin.yaml")),
		values(filepath.Join(docker, "kubernetes", "collector-values.yaml")),
		task(filepath.Join(docker, "ecs", "task-definition.json")),
		task(filepath.Join(docker, "ecs", "task-definition-plugin.json")),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// offline answers for every image with an empty configuration: the linter asks for the environment and ports that a
// base image has, and no registry is asked.
type offline struct{}

func (offline) ResolveImageConfig(_ context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(ocispecs.Image{Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"}})
	return ref, digest.FromBytes(config), config, err
}

func dockerfile(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	platform := ocispecs.Platform{OS: "linux", Architecture: "arm64"}
	source := llb.NewSourceMap(nil, path, "Dockerfile", content)
	source.Definition = &llb.Definition{} // the linter wants one, which the file of a real build has
	opt := dockerfile2llb.ConvertOpt{
		MetaResolver:   offline{},
		TargetPlatform: &platform,
		SourceMap:      source,
	}
	opt.BuildPlatforms = []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}}
	results, err := dockerfile2llb.DockerfileLint(context.Background(), content, opt)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	if results.Error != nil {
		errs = append(errs, fmt.Errorf("%s: %s", path, results.Error.Message))
	}
	for _, w := range results.Warnings {
		line := int32(0)
		if w.Location != nil && len(w.Location.Ranges) > 0 {
			line = w.Location.Ranges[0].Start.Line
		}
		errs = append(errs, fmt.Errorf("%s:%d: %s: %s", path, line, w.RuleName, w.Detail))
	}
	return errors.Join(errs...)
}

func compose(path string) error {
	options, err := cli.NewProjectOptions([]string{path})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := options.LoadProject(context.Background()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// manifests reads each document into the type of its kind, in which a misspelt field is an error.
func manifests(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	kinds := map[string]func() any{
		"Namespace":          func() any { return &corev1.Namespace{} },
		"ServiceAccount":     func() any { return &corev1.ServiceAccount{} },
		"ConfigMap":          func() any { return &corev1.ConfigMap{} },
		"ClusterRole":        func() any { return &rbacv1.ClusterRole{} },
		"ClusterRoleBinding": func() any { return &rbacv1.ClusterRoleBinding{} },
		"DaemonSet":          func() any { return &appsv1.DaemonSet{} },

		"FluentBit":              func() any { return &custom[fluentBit]{} },
		"ClusterFluentBitConfig": func() any { return &custom[fluentBitConfig]{} },
		"ClusterInput":           func() any { return &custom[plugin]{} },
		"ClusterFilter":          func() any { return &custom[clusterFilter]{} },
		"ClusterOutput":          func() any { return &custom[plugin]{} },
	}
	var errs []error
	for i, document := range bytes.Split(content, []byte("\n---\n")) {
		var meta struct{ Kind string }
		if err := yaml.Unmarshal(document, &meta); err != nil {
			errs = append(errs, fmt.Errorf("%s, document %d: %w", path, i+1, err))
			continue
		}
		kind := kinds[meta.Kind]
		if kind == nil {
			errs = append(errs, fmt.Errorf("%s, document %d: kind %q is not known here: add it to manifests", path, i+1, meta.Kind))
			continue
		}
		if err := yaml.UnmarshalStrict(document, kind()); err != nil {
			errs = append(errs, fmt.Errorf("%s, %s: %w", path, meta.Kind, err))
		}
	}
	return errors.Join(errs...)
}

// values are those of the fluent-bit charts that are Kubernetes' own types there; the rest is read as YAML only.
func values(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := yaml.UnmarshalStrict(content, &all); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	for key, target := range map[string]any{
		"updateStrategy": &appsv1.DaemonSetUpdateStrategy{}, "tolerations": &[]corev1.Toleration{}, "env": &[]corev1.EnvVar{},
		"livenessProbe": &corev1.Probe{}, "readinessProbe": &corev1.Probe{}, "resources": &corev1.ResourceRequirements{},
		"securityContext": &corev1.SecurityContext{}, "daemonSetVolumes": &[]corev1.Volume{}, "daemonSetVolumeMounts": &[]corev1.VolumeMount{},
		"initContainers": &[]corev1.Container{}, "extraVolumes": &[]corev1.Volume{}, "extraVolumeMounts": &[]corev1.VolumeMount{},
	} {
		if all[key] == nil {
			continue
		}
		if err := yaml.UnmarshalStrict(all[key], target); err != nil {
			errs = append(errs, fmt.Errorf("%s, %s: %w", path, key, err))
		}
	}
	return errors.Join(errs...)
}

// task reads the task definition into the fields of ECS' RegisterTaskDefinition that it may have.
func task(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	type logs struct {
		LogDriver string
		Options   map[string]string
	}
	var definition struct {
		Family, NetworkMode, CPU, Memory, ExecutionRoleArn, TaskRoleArn string
		RequiresCompatibilities                                         []string
		ContainerDefinitions                                            []struct {
			Name, Image, User              string
			Essential                      bool
			MemoryReservation, StopTimeout int
			LogConfiguration               logs
			FirelensConfiguration          struct {
				Type    string
				Options map[string]string
			}
			Command     []string
			MountPoints []struct{ SourceVolume, ContainerPath string }
			DependsOn   []struct{ ContainerName, Condition string }
		}
		Volumes []struct{ Name string }
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&definition); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
