{{/* Where the database's URL stands. */}}
{{- define "nemeton.database.secret" -}}
{{- .Values.database.existingSecret.name | default (printf "%s-database" (include "nemeton.fullname" .)) -}}
{{- end -}}

{{- define "nemeton.database.key" -}}
{{- if .Values.database.existingSecret.name }}{{ .Values.database.existingSecret.key }}{{ else }}url{{ end -}}
{{- end -}}

{{- define "nemeton.deepStorage" -}}
{{- if .Values.deepStorage.url -}}
{{- .Values.deepStorage.url -}}
{{- else if .Values.objectStorage.embedded.enabled -}}
{{- printf "s3://%s/segments" .Values.objectStorage.embedded.bucket -}}
{{- end -}}
{{- end -}}

{{- define "nemeton.taskLogs" -}}
{{- if .Values.taskLogs.url -}}
{{- .Values.taskLogs.url -}}
{{- else if .Values.objectStorage.embedded.enabled -}}
{{- printf "s3://%s/logs" .Values.objectStorage.embedded.bucket -}}
{{- end -}}
{{- end -}}

{{/* What every client of the object storage has in its environment: a list of EnvVar, as JSON. */}}
{{- define "nemeton.objectStorage.env" -}}
{{- $env := list -}}
{{- range $name, $value := .Values.objectStorage.env -}}
{{- $env = append $env (dict "name" $name "value" (toString $value)) -}}
{{- end -}}
{{- if .Values.objectStorage.embedded.enabled -}}
{{- $endpoint := printf "http://%s-object-storage.%s.svc:8333" (include "nemeton.fullname" .) .Release.Namespace -}}
{{- $env = concat $env (list
      (dict "name" "AWS_ENDPOINT" "value" $endpoint)
      (dict "name" "AWS_REGION" "value" "us-east-1")
      (dict "name" "AWS_ALLOW_HTTP" "value" "true")) -}}
{{- end -}}
{{- $env | toJson -}}
{{- end -}}

{{/* And the Secrets beside it: a list of EnvFromSource, as JSON. */}}
{{- define "nemeton.objectStorage.envFrom" -}}
{{- $from := list -}}
{{- range .Values.objectStorage.existingSecrets -}}
{{- $from = append $from (dict "secretRef" (dict "name" .)) -}}
{{- end -}}
{{- if .Values.objectStorage.embedded.enabled -}}
{{- $from = append $from (dict "secretRef" (dict "name" (printf "%s-object-storage" (include "nemeton.fullname" .)))) -}}
{{- end -}}
{{- $from | toJson -}}
{{- end -}}

{{/* The shared volume, where there is one: lists of Volume and of VolumeMount, as JSON. */}}
{{- define "nemeton.storageVolumes" -}}
{{- if .Values.storageVolume.existingClaim -}}
{{- list (dict "name" "storage" "persistentVolumeClaim" (dict "claimName" .Values.storageVolume.existingClaim)) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- define "nemeton.storageMounts" -}}
{{- if .Values.storageVolume.existingClaim -}}
{{- list (dict "name" "storage" "mountPath" .Values.storageVolume.mountPath) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}
