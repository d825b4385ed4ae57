package main

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The fields of fluent-operator's kinds (fluentbit.fluent.io/v1alpha2) that the recipe may have, by their names there: what
// is no field here is an error.

type custom[Spec any] struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              Spec `json:"spec"`
}

type fluentBit struct {
	Image                         string                      `json:"image"`
	Args                          []string                    `json:"args"`
	FluentBitConfigName           string                      `json:"fluentBitConfigName"`
	InitContainers                []corev1.Container          `json:"initContainers"`
	Volumes                       []corev1.Volume             `json:"volumes"`
	VolumesMounts                 []corev1.VolumeMount        `json:"volumesMounts"`
	EnvVars                       []corev1.EnvVar             `json:"envVars"`
	ServiceAccountAnnotations     map[string]string           `json:"serviceAccountAnnotations"`
	TerminationGracePeriodSeconds *int64                      `json:"terminationGracePeriodSeconds"`
	Tolerations                   []corev1.Toleration         `json:"tolerations"`
	MetricsPort                   int32                       `json:"metricsPort"`
	Resources                     corev1.ResourceRequirements `json:"resources"`
}

type fluentBitConfig struct {
	Service struct {
		Daemon       bool    `json:"daemon"`
		FlushSeconds float64 `json:"flushSeconds"`
		GraceSeconds int64   `json:"graceSeconds"`
		HTTPServer   bool    `json:"httpServer"`
		HTTPListen   string  `json:"httpListen"`
		HTTPPort     int32   `json:"httpPort"`
		ParsersFile  string  `json:"parsersFile"`
		Storage      struct {
			Path string `json:"path"`
			Sync string `json:"sync"`
		} `json:"storage"`
	} `json:"service"`
	InputSelector  metav1.LabelSelector `json:"inputSelector"`
	FilterSelector metav1.LabelSelector `json:"filterSelector"`
	OutputSelector metav1.LabelSelector `json:"outputSelector"`
}

// plugin is an input or output that the operator has no fields for.
type plugin struct {
	CustomPlugin struct {
		Config string `json:"config"`
	} `json:"customPlugin"`
}

type clusterFilter struct {
	Match   string `json:"match"`
	Filters []struct {
		Kubernetes struct {
			MergeLog    bool `json:"mergeLog"`
			KeepLog     bool `json:"keepLog"`
			Labels      bool `json:"labels"`
			Annotations bool `json:"annotations"`
		} `json:"kubernetes"`
	} `json:"filters"`
}
