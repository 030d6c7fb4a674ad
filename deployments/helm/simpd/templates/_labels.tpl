{{- define "simpd.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "simpd.selector" -}}
app.kubernetes.io/name: simpd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "simpd.labels" -}}
{{ include "simpd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
