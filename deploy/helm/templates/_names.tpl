{{- define "bulkhead.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "bulkhead.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "bulkhead.labels" -}}
{{ include "bulkhead.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "bulkhead.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* A driver's name as part of the names of containers and volumes, at most 40 bytes. */}}
{{- define "bulkhead.slug" -}}
{{- $slug := lower . | replace "." "-" -}}
{{- if gt (len $slug) 40 -}}
{{- $slug = printf "%s-%s" (trunc 33 $slug | trimSuffix "-") (sha256sum . | trunc 6) -}}
{{- end -}}
{{- $slug -}}
{{- end -}}

{{/* A lease's name as the sidecars' leader election makes it. */}}
{{- define "bulkhead.lease" -}}
{{- regexReplaceAll "[^a-zA-Z0-9-]" . "-" -}}
{{- end -}}

{{/* Whole seconds of a time like 30s, 1500ms or 2min, rounded up. */}}
{{- define "bulkhead.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | atoi -}}
{{- if hasSuffix "ms" . -}}{{- div (add $number 999) 1000 -}}
{{- else if hasSuffix "min" . -}}{{- mul $number 60 -}}
{{- else -}}{{- $number -}}{{- end -}}
{{- end -}}
