{{- /* Names and labels. The arguments of those that take more than the root: root, component. */ -}}

{{- define "naru.name" -}}
{{- if contains "naru" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-naru" (.Release.Name | trunc 35 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{- define "naru.selector" -}}
app.kubernetes.io/name: naru
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "naru.labels" -}}
{{ include "naru.selector" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
{{- end }}

{{- define "naru.metadata" -}}
name: {{ include "naru.name" .root }}-{{ .name | default .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "naru.labels" . | nindent 2 }}
{{- end }}

{{- define "naru.image" -}}
{{- $image := .image.repository }}
{{- with .root.Values.image.registry }}{{ $image = printf "%s/%s" . $image }}{{ end }}
{{- if .image.digest }}{{ printf "%s@%s" $image .image.digest }}
{{- else }}{{ printf "%s:%s" $image (.root.Values.image.tag | default .root.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- /* The host of what clients are told to connect to, without the port. */ -}}
{{- define "naru.gatewayHost" -}}
{{ regexReplaceAll ":[0-9]+$" (urlParse .Values.gateway.publicUrl).host "" }}
{{- end }}
