{{- define "nemeton.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters, so that every name made of it stays below 63. */}}
{{- define "nemeton.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "nemeton.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "nemeton.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of an object: {root, component}. */}}
{{- define "nemeton.labels" -}}
{{ include "nemeton.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels that pods are selected by, which never change: {root, component}. */}}
{{- define "nemeton.selector" -}}
app.kubernetes.io/name: {{ include "nemeton.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Peons of this Overlord, wherever they are. */}}
{{- define "nemeton.peon.selector" -}}
druid.k8s.peons: "true"
druid.nemeton.dev/release: {{ include "nemeton.fullname" . }}
{{- end -}}

{{/* An image's full name: {root, image}. */}}
{{- define "nemeton.image" -}}
{{- $name := printf "%s%s" .root.Values.image.prefix .image.repository -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* With all namespaces watched the chart cannot make one in each, so that peons take what every namespace has. */}}
{{- define "nemeton.peon.serviceAccount" -}}
{{- if .Values.peon.serviceAccount.name -}}
{{- .Values.peon.serviceAccount.name -}}
{{- else if and .Values.peon.serviceAccount.create (not .Values.operator.clusterWide) -}}
{{- printf "%s-peon" (include "nemeton.fullname" .) -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{/* Namespaces in which tasks run, as JSON: a template can only return text. */}}
{{- define "nemeton.taskNamespaces" -}}
{{- .Values.operator.taskNamespaces | default (list .Release.Namespace) | uniq | toJson -}}
{{- end -}}

{{- define "nemeton.overlord.url" -}}
{{- printf "%s://%s" (include "nemeton.overlord.scheme" .) (include "nemeton.overlord.host" .) -}}
{{- end -}}

{{- define "nemeton.overlord.host" -}}
{{- printf "%s-overlord.%s.svc:%v" (include "nemeton.fullname" .) .Release.Namespace .Values.overlord.service.port -}}
{{- end -}}
