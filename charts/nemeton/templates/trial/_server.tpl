{{/* A server of one pod with a volume: {root, component, server, values, port, env}. */}}
{{- define "nemeton.trial" -}}
{{- $name := printf "%s-%s" (include "nemeton.fullname" .root) .component -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "nemeton.labels" . | nindent 4 }}
spec:
  selector: {{- include "nemeton.selector" . | nindent 4 }}
  ports:
    - name: {{ .server }}
      port: {{ .port }}
      targetPort: {{ .server }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "nemeton.labels" . | nindent 4 }}
spec:
  serviceName: {{ $name }}
  replicas: 1
  selector:
    matchLabels: {{- include "nemeton.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "nemeton.labels" . | nindent 8 }}
      annotations:
        checksum/values: {{ toJson .values | sha256sum }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 30
      securityContext: {{- include "nemeton.pod.security" .root | nindent 8 }}
{{- with .root.Values.image.pullSecrets }}
      imagePullSecrets:
{{- range . }}
        - name: {{ . }}
{{- end }}
{{- end }}
      containers:
        - name: {{ .server }}
          image: {{ include "nemeton.image" (dict "root" .root "image" .root.Values.trial.image) }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: [{{ .server }}]
          ports:
            - name: {{ .server }}
              containerPort: {{ .port }}
          env:
            - name: DATA
              value: /data
            {{- toYaml .env | nindent 12 }}
          startupProbe:
            tcpSocket: {port: {{ .server }}}
            periodSeconds: 1
            failureThreshold: 120
          readinessProbe:
            tcpSocket: {port: {{ .server }}}
            periodSeconds: 5
          resources: {{- toYaml .values.resources | nindent 12 }}
          securityContext: {{- include "nemeton.container.security" .root | nindent 12 }}
          volumeMounts:
            - name: data
              mountPath: /data
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 1Gi}
{{- if not .values.persistence.enabled }}
        - name: data
          emptyDir: {}
{{- else }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
{{- with .values.persistence.storageClassName }}
        storageClassName: {{ . }}
{{- end }}
        resources:
          requests:
            storage: {{ .values.persistence.size }}
{{- end }}
{{- end -}}
