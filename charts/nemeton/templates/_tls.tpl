{{- define "nemeton.overlord.scheme" -}}
{{- if .Values.overlord.tls.existingSecret }}https{{ else }}http{{ end -}}
{{- end -}}

{{/* The Overlord's own certificate: settings, volumes and mounts, each a list, as JSON. */}}
{{- define "nemeton.tls.env" -}}
{{- if .Values.overlord.tls.existingSecret -}}
{{- list
      (dict "name" "NEMETON_TLS_CERTIFICATE" "value" "/etc/nemeton/tls/tls.crt")
      (dict "name" "NEMETON_TLS_KEY" "value" "/etc/nemeton/tls/tls.key") | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "nemeton.tls.volumes" -}}
{{- with .Values.overlord.tls.existingSecret -}}
{{- list (dict "name" "tls" "secret" (dict "secretName" .)) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "nemeton.tls.mounts" -}}
{{- if .Values.overlord.tls.existingSecret -}}
{{- list (dict "name" "tls" "mountPath" "/etc/nemeton/tls" "readOnly" true) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* The authorities that every part trusts: the same three. */}}
{{- define "nemeton.trust.env" -}}
{{- if .Values.trust.configMap -}}
{{- list (dict "name" "SSL_CERT_FILE" "value" (printf "/etc/nemeton/authorities/%s" .Values.trust.key)) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "nemeton.trust.volumes" -}}
{{- with .Values.trust.configMap -}}
{{- list (dict "name" "authorities" "configMap" (dict "name" .)) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "nemeton.trust.mounts" -}}
{{- if .Values.trust.configMap -}}
{{- list (dict "name" "authorities" "mountPath" "/etc/nemeton/authorities" "readOnly" true) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* Where traces go, of the Overlord and of peons: a list of EnvVar, as JSON. */}}
{{- define "nemeton.tracing.env" -}}
{{- with .Values.tracing.endpoint -}}
{{- list (dict "name" "OTEL_EXPORTER_OTLP_ENDPOINT" "value" .) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}
