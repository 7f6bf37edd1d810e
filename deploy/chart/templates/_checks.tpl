{{- /* What the schema cannot know to be wrong. */ -}}

{{- define "naru.seconds" -}}
{{- if hasSuffix "m" . }}{{ mul 60 (trimSuffix "m" . | int) }}{{ else }}{{ trimSuffix "s" . | int }}{{ end }}
{{- end }}

{{- define "naru.check" -}}
{{- range $service := list "apiServer" "gateway" }}
  {{- $values := index $.Values $service }}
  {{- $least := add $values.preStopSeconds (include "naru.seconds" $values.shutdownGrace) 5 }}
  {{- if lt (int $values.terminationGracePeriodSeconds) (int $least) }}
    {{- fail (printf "%s.terminationGracePeriodSeconds must be at least %d: preStopSeconds, shutdownGrace, and 5 s" $service $least) }}
  {{- end }}
  {{- if and (has (toString $values.maxSurge) (list "0" "0%")) (has (toString $values.maxUnavailable) (list "0" "0%")) }}
    {{- fail (printf "%s.maxSurge and %s.maxUnavailable cannot both be 0" $service $service) }}
  {{- end }}
  {{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) }}
    {{- fail (printf "%s.autoscaling.minReplicas must not be more than maxReplicas" $service) }}
  {{- end }}
{{- end }}
{{- $gateway := .Values.gateway }}
{{- $window := include "naru.seconds" $gateway.drainWindow | int }}
{{- if gt (add $window 5 | int) (include "naru.seconds" $gateway.shutdownGrace | int) }}
  {{- fail "gateway.drainWindow must be at least 5 s shorter than gateway.shutdownGrace" }}
{{- end }}
{{- $least := add $gateway.preStopSeconds $window 5 }}
{{- if lt (int $gateway.minReadySeconds) (int $least) }}
  {{- fail (printf "gateway.minReadySeconds must be at least %d: preStopSeconds, drainWindow, and 5 s" $least) }}
{{- end }}
{{- if and (not .Values.tokens.jwksUrl) (not .Values.secrets.jwt) }}
  {{- fail "secrets.jwt or tokens.jwksUrl must be given" }}
{{- end }}
{{- if and .Values.apiServer.autoscaling.enabled (not .Values.apiServer.autoscaling.cpuPercent) (not .Values.apiServer.autoscaling.waitingSends) }}
  {{- fail "apiServer.autoscaling must look at cpuPercent or waitingSends" }}
{{- end }}
{{- if and .Values.gatewayApi.enabled (not .Values.gatewayApi.parentRefs) }}
  {{- fail "gatewayApi.parentRefs must name the Gateway" }}
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.prometheus) }}
  {{- fail "networkPolicy.prometheus must say where Prometheus runs, or it reads nothing" }}
{{- end }}
{{- end }}
