{{/* Whether anybody is asked who he is: "true", or nothing. */}}
{{- define "nemeton.auth.isOn" -}}
{{- if ne .Values.auth.kind "none" }}true{{ end -}}
{{- end -}}

{{- define "nemeton.auth.hasBasic" -}}
{{- if has "basic" (splitList "," .Values.auth.kind) }}true{{ end -}}
{{- end -}}

{{- define "nemeton.auth.hasJwt" -}}
{{- if has "jwt" (splitList "," .Values.auth.kind) }}true{{ end -}}
{{- end -}}

{{/* Where the first password and the runners' secret stand. */}}
{{- define "nemeton.auth.secret" -}}
{{- .Values.auth.existingSecret.name | default (printf "%s-auth" (include "nemeton.fullname" .)) -}}
{{- end -}}

{{/* What an operator shows to the Overlord: a list of EnvVar, as JSON. */}}
{{- define "nemeton.auth.runnerEnv" -}}
{{- $env := list -}}
{{- if include "nemeton.auth.isOn" . -}}
{{- $key := dict "name" (include "nemeton.auth.secret" .) "key" .Values.auth.existingSecret.runnerTokenKey -}}
{{- $env = append $env (dict "name" "NEMETON_RUNNER_TOKEN" "valueFrom" (dict "secretKeyRef" $key)) -}}
{{- end -}}
{{- $env | toJson -}}
{{- end -}}

{{/* How the Overlord knows its callers: a list of EnvVar, as JSON. */}}
{{- define "nemeton.auth.env" -}}
{{- $env := include "nemeton.auth.runnerEnv" . | fromJsonArray -}}
{{- if include "nemeton.auth.isOn" . -}}
{{- $env = prepend $env (dict "name" "NEMETON_AUTHENTICATORS" "value" .Values.auth.kind) -}}
{{- end -}}
{{- if include "nemeton.auth.hasBasic" . -}}
{{- /* it counts at the first start alone, and may be taken from the Secret then */ -}}
{{- $key := dict "name" (include "nemeton.auth.secret" .) "key" .Values.auth.existingSecret.adminPasswordKey "optional" true -}}
{{- $env = append $env (dict "name" "NEMETON_INITIAL_ADMIN_PASSWORD" "valueFrom" (dict "secretKeyRef" $key)) -}}
{{- end -}}
{{- if include "nemeton.auth.hasJwt" . -}}
{{- range $name, $value := dict
      "ISSUER" .Values.auth.jwt.issuer "AUDIENCE" .Values.auth.jwt.audience "JWKS_URL" .Values.auth.jwt.jwksUrl
      "USER_CLAIM" .Values.auth.jwt.userClaim "ROLES_CLAIM" .Values.auth.jwt.rolesClaim -}}
{{- if $value -}}
{{- $env = append $env (dict "name" (printf "NEMETON_JWT_%s" $name) "value" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $env | toJson -}}
{{- end -}}

{{/* `helm test` can show a password, and no token of an issuer. */}}
{{- define "nemeton.tests.isOn" -}}
{{- if and .Values.tests.enabled (or (not (include "nemeton.auth.isOn" .)) (include "nemeton.auth.hasBasic" .)) }}true{{ end -}}
{{- end -}}
