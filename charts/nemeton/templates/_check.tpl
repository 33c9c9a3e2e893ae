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
{{- /* here and not in the schema, whose messages repeat the value, password and all */ -}}
{{- if and .Values.database.url (not (regexMatch "^postgres(ql)?://.+" .Values.database.url)) -}}
{{- fail "database.url is no PostgreSQL's: write postgresql://user:password@host:5432/database, or name a Secret with it in database.existingSecret." -}}
{{- end -}}
{{- if not (regexMatch "^[A-Za-z0-9_-]*$" .Values.database.embedded.password) -}}
{{- fail "database.embedded.password may have letters, digits, - and _." -}}
{{- end -}}
{{- range $name, $url := dict "deepStorage.url" .Values.deepStorage.url "taskLogs.url" .Values.taskLogs.url -}}
{{- if and $url (not (regexMatch "^((s3|s3a|gs|az|azure)://[^/]+|file:///.+)" $url)) -}}
{{- fail (printf "%s is no address of a storage: write s3://bucket/path, gs://, az://, or file:///path on storageVolume." $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.tracing.endpoint (not (regexMatch "^https?://.+" .Values.tracing.endpoint)) -}}
{{- fail "tracing.endpoint is no address of a collector: write http://host:4318." -}}
{{- end -}}
{{- $open := (dict "deepStorage.url" .Values.deepStorage.url "taskLogs.url" .Values.taskLogs.url "tracing.endpoint" .Values.tracing.endpoint) -}}
{{- range $name, $value := .Values.objectStorage.env -}}
{{- $_ := set $open (printf "objectStorage.env.%s" $name) (toString $value) -}}
{{- end -}}
{{- range $name, $url := $open -}}
{{- if regexMatch "://[^/]*@" $url -}}
{{- fail (printf "%s has a user or a key before its host, which would stand in the open, for whoever may read pods: put keys into a Secret, and its name into objectStorage.existingSecrets (of a collector: extraEnvFrom)." $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.objectStorage.embedded.enabled (hasKey .Values.objectStorage.env "AWS_ENDPOINT") -}}
{{- fail "Only one object storage, please: objectStorage.embedded.enabled and objectStorage.env.AWS_ENDPOINT are set." -}}
{{- end -}}
{{- range $name, $_ := .Values.objectStorage.env -}}
{{- if and (regexMatch "(?i)(SECRET|PASSWORD|PASSWD|TOKEN|ACCESS_KEY|CUSTOMER_KEY|_SAS(_|$)|CONNECTION_STRING|_KEY$)" $name) (not (regexMatch "(?i)_(FILE|URI|URL|ENDPOINT)$" $name)) -}}
{{- fail (printf "objectStorage.env.%s would stand in the open, for whoever may read pods: put it into a Secret under this name, and the Secret's name into objectStorage.existingSecrets." $name) -}}
{{- end -}}
{{- end -}}
{{- if and (include "nemeton.auth.hasJwt" .) (or (not .Values.auth.jwt.issuer) (not .Values.auth.jwt.audience)) -}}
{{- fail (printf "auth.kind is %s, which needs auth.jwt.issuer and auth.jwt.audience." .Values.auth.kind) -}}
{{- end -}}
{{- if and .Values.auth.existingSecret.name (not (include "nemeton.auth.isOn" .)) -}}
{{- fail "auth.existingSecret.name is set, but auth.kind is none: nobody would be asked. Set auth.kind to basic, jwt, or basic,jwt." -}}
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
{{- include "nemeton.checkSettings" (dict "part" "overlord" "settings" .Values.overlord.settings "ours" (list
      "database_url" "database_wait_seconds" "host" "port" "public_url" "task_logs"
      "authenticators" "initial_admin_password" "runner_token" "jwt_issuer" "jwt_audience" "jwt_jwks_url" "jwt_user_claim"
      "jwt_roles_claim" "tls_certificate" "tls_key" "log_format" "tracing")) -}}
{{- include "nemeton.checkSettings" (dict "part" "operator" "settings" .Values.operator.settings "ours" (list
      "overlord" "runner_token" "release" "namespace" "identity" "task_namespaces" "default_task_namespace" "capacity" "task_logs"
      "deep_storage" "host" "port" "pod_templates" "kueue_queue" "peon_image" "peon_image_pull_policy"
      "peon_image_pull_secrets" "peon_service_account" "peon_resources" "peon_fs_group" "peon_grace_seconds" "peon_deadline_seconds"
      "peon_env" "peon_env_from" "peon_volumes" "peon_volume_mounts" "peon_node_selector" "peon_tolerations"
      "peon_labels" "peon_annotations")) -}}
{{- range $key, $template := .Values.podTemplates -}}
{{- if not (dig "template" $template $template).spec -}}
{{- fail (printf "podTemplates.%s has no spec: a pod template looks like {metadata: {labels: ...}, spec: {containers: [{name: main, ...}]}}, or is a v1 PodTemplate." $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Settings that have a value of their own in the chart are not given twice: {part, settings, ours}. */}}
{{- define "nemeton.checkSettings" -}}
{{- range $name, $value := .settings -}}
{{- if has $name $.ours -}}
{{- fail (printf "%s.settings.%s is made by the chart from other values: see values.yaml." $.part $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
