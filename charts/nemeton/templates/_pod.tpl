{{/* Pods of this chart fit the restricted Pod Security Standard by these two. */}}
{{- define "nemeton.pod.security" -}}
runAsNonRoot: true
{{- with .Values.security.runAsUser }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
{{- end }}
{{- with .Values.security.fsGroup }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "nemeton.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where a pod may go, and before whom: {root, component, values}. */}}
{{- define "nemeton.pod.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
{{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "nemeton.selector" . | nindent 8 }}
{{- end }}
{{- end -}}

{{/*
Settings by name as environment variables, {queue_interval_ms: 5} as NEMETON_QUEUE_INTERVAL_MS: a list, as JSON. Lists have
commas between their items there, all else that is no text is JSON.
*/}}
{{- define "nemeton.settings" -}}
{{- $env := list -}}
{{- range $name, $value := . -}}
{{- $text := toJson $value -}}
{{- if kindIs "string" $value }}{{ $text = $value }}{{ else if kindIs "slice" $value }}{{ $text = join "," $value }}{{ end -}}
{{- $env = append $env (dict "name" (printf "NEMETON_%s" (upper $name)) "value" $text) -}}
{{- end -}}
{{- $env | toJson -}}
{{- end -}}
