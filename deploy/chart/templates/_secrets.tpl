{{- /* Secrets as files: one projected volume in each pod, with what its service needs and no more. */ -}}

{{- /* A list: the variable that names the file, and where it comes from. Arguments: root, component. */ -}}
{{- define "naru.secretFiles" -}}
{{- $secrets := .root.Values.secrets }}
{{- $files := list }}
{{- if eq .component "migrate" }}
  {{- $files = append $files (list "DATABASE_URL_FILE" "database-url" ($secrets.migrationDatabase | default $secrets.database)) }}
{{- else }}
  {{- if eq .component "api-server" }}
    {{- $files = append $files (list "DATABASE_URL_FILE" "database-url" $secrets.database) }}
    {{- $files = append $files (list "NARU_FCM_SERVICE_ACCOUNT" "fcm-service-account.json" $secrets.fcmServiceAccount) }}
  {{- end }}
  {{- $files = append $files (list "REDIS_URL_FILE" "redis-url" $secrets.redis) }}
  {{- $files = append $files (list "NARU_INTERNAL_SECRET_FILE" "internal-secret" $secrets.internal) }}
  {{- $files = append $files (list "NARU_INTERNAL_PREVIOUS_SECRET_FILE" "internal-previous-secret" $secrets.internalPrevious) }}
  {{- if not .root.Values.tokens.jwksUrl }}
    {{- $files = append $files (list "NARU_JWT_SECRET_FILE" "jwt-secret" $secrets.jwt) }}
    {{- $files = append $files (list "NARU_JWT_PREVIOUS_SECRET_FILE" "jwt-previous-secret" $secrets.jwtPrevious) }}
  {{- end }}
{{- end }}
{{- range $files }}
{{- if (index . 2) }}
- {variable: {{ index . 0 }}, path: {{ index . 1 }}, name: {{ (index . 2).name }}, key: {{ (index . 2).key | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "naru.secretVariables" -}}
{{- range include "naru.secretFiles" . | fromYamlArray }}
- name: {{ .variable }}
  value: /run/naru/{{ .path }}
{{- end }}
{{- end }}

{{- define "naru.secretVolume" -}}
- name: secrets
  projected:
    # For the pod's group, which is the process's.
    defaultMode: 0440
    sources:
      {{- range concat (include "naru.secretFiles" . | fromYamlArray) .root.Values.secrets.more }}
      - secret:
          name: {{ .name }}
          items: [{key: {{ .key | quote }}, path: {{ .path }}}]
      {{- end }}
{{- end }}
