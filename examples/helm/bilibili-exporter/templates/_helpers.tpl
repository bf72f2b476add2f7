{{/* Name of all objects. */}}
{{- define "bilibili-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Labels by which the pods and the service are selected. */}}
{{- define "bilibili-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of all objects. */}}
{{- define "bilibili-exporter.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "bilibili-exporter.selectorLabels" . }}
{{- end }}

{{/*
Text of a file with the given key in a ConfigMap, from its data or its text, and the users in it. Helm reads integers in
values as floats, which are exact up to 2^53-1 only.
*/}}
{{- define "bilibili-exporter.file" -}}
{{- range .users -}}
  {{- $wmid := . -}}
  {{- if kindIs "map" . -}}{{- $wmid = .wmid -}}{{- end -}}
  {{- if and (kindIs "float64" $wmid) (gt $wmid 9007199254740991.0) -}}
    {{- fail (printf "%s: Helm rounds WMIDs above 9007199254740991, here to %.0f: write it in quotes" $.value $wmid) -}}
  {{- end -}}
{{- end -}}
{{- $text := .data -}}
{{- if not (kindIs "string" .data) -}}{{- $text = printf "%s\n" (toYaml .data) -}}{{- end -}}
{{- if gt (len $text) 1000000 -}}
  {{- fail (printf "%s: a ConfigMap holds at most 1 MiB: divide the users among several userFiles" .value) -}}
{{- end -}}
{{- toYaml (dict .key $text) -}}
{{- end }}
