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

{{/* What the schema cannot say: values that only make sense together. */}}
{{- define "nemeton.check" -}}
{{- $database := list -}}
{{- if .Values.database.existingSecret.name }}{{ $database = append $database "database.existingSecret.name" }}{{ end -}}
{{- if .Values.database.url }}{{ $database = append $database "database.url" }}{{ end -}}
{{- if .Values.database.embedded.enabled }}{{ $database = append $database "database.embedded.enabled" }}{{ end -}}
{{- if not $database -}}
{{- fail "The Overlord needs a PostgreSQL: set database.existingSecret.name (a Secret with its URL), database.url, or, for a trial, database.embedded.enabled=true." -}}
{{- end -}}
{{- if gt (len $database) 1 -}}
{{- fail (printf "Only one database, please: %s are set." (join " and " $database)) -}}
{{- end -}}
{{- if or (not (include "nemeton.deepStorage" .)) (not (include "nemeton.taskLogs" .)) -}}
{{- fail "Segments and logs need a place that outlives pods: set deepStorage.url and taskLogs.url (s3://, gs://, az://, or file:// on storageVolume), or, for a trial, objectStorage.embedded.enabled=true." -}}
{{- end -}}
{{- range $name, $url := dict "deepStorage.url" (include "nemeton.deepStorage" .) "taskLogs.url" (include "nemeton.taskLogs" .) -}}
{{- if hasPrefix "file:" $url -}}
{{- if not $.Values.storageVolume.existingClaim -}}
{{- fail (printf "%s is %s, a folder that only one pod would see: set storageVolume.existingClaim to a ReadWriteMany claim, or use an object storage." $name $url) -}}
{{- end -}}
{{- if not (hasPrefix (printf "file://%s" $.Values.storageVolume.mountPath) $url) -}}
{{- fail (printf "%s is %s, which is not below storageVolume.mountPath (%s)." $name $url $.Values.storageVolume.mountPath) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.overlord.ingress.enabled (not .Values.overlord.ingress.hosts) -}}
{{- fail "overlord.ingress.enabled needs overlord.ingress.hosts: [{host: overlord.example.com, paths: [/]}]." -}}
{{- end -}}
{{- $autoscaling := .Values.overlord.autoscaling -}}
{{- if and $autoscaling.enabled (gt (int $autoscaling.minReplicas) (int $autoscaling.maxReplicas)) -}}
{{- fail (printf "overlord.autoscaling.minReplicas (%v) is above maxReplicas (%v)." $autoscaling.minReplicas $autoscaling.maxReplicas) -}}
{{- end -}}
{{- range $key, $template := .Values.podTemplates -}}
{{- if not (dig "template" $template $template).spec -}}
{{- fail (printf "podTemplates.%s has no spec: a pod template looks like {metadata: {labels: ...}, spec: {containers: [{name: main, ...}]}}, or is a v1 PodTemplate." $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
