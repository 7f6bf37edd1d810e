{{- /* What all pods have in common. */ -}}

{{- define "naru.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "naru.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "naru.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Options that both services have. */ -}}
{{- define "naru.commonVariables" -}}
- name: NARU_REDIS_PREFIX
  value: {{ .Values.redisPrefix | quote }}
- name: NARU_LOG
  value: {{ .Values.logs.filter | quote }}
- name: NARU_LOG_FORMAT
  value: {{ .Values.logs.format | quote }}
{{- with .Values.allowedOrigins }}
- name: NARU_ALLOWED_ORIGINS
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.tokens.jwksUrl }}
- name: NARU_JWT_JWKS_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.tokens.issuer }}
- name: NARU_JWT_ISSUER
  value: {{ . | quote }}
{{- end }}
{{- with .Values.tokens.audience }}
- name: NARU_JWT_AUDIENCE
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* Arguments: root, component, values (of the service), ports (name: number), variables (of its own). */ -}}
{{- define "naru.podTemplate" -}}
metadata:
  labels:
    {{- include "naru.labels" . | nindent 4 }}
    {{- with .values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "naru.name" .root }}
  automountServiceAccountToken: false
  # The variables of every Service of the namespace would be options that nobody has set.
  enableServiceLinks: false
  {{- with include "naru.pullSecrets" .root }}{{ . | trim | nindent 2 }}{{ end }}
  securityContext:
    {{- include "naru.podSecurity" . | nindent 4 }}
  terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
  {{- with .values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "naru.selector" $ | nindent 10 }}
      # In a roll-out the new pods are spread among themselves, not around those that go.
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "naru.image" (dict "root" .root "image" .values.image) }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      securityContext:
        {{- include "naru.containerSecurity" . | nindent 8 }}
      env:
        {{- .variables | trim | nindent 8 }}
        - name: NARU_SHUTDOWN_GRACE
          value: {{ .values.shutdownGrace | quote }}
        {{- include "naru.commonVariables" .root | nindent 8 }}
        {{- include "naru.secretVariables" . | trim | nindent 8 }}
        {{- range $name, $value := .values.options }}
        - name: {{ $name }}
          value: {{ $value | toString | quote }}
        {{- end }}
      ports:
        - {name: public, containerPort: {{ .ports.public }}}
        - {name: internal, containerPort: {{ .ports.internal }}}
      startupProbe:
        httpGet: {path: /livez, port: internal}
        periodSeconds: 1
        timeoutSeconds: 3
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /livez, port: internal}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      # It gives its dependencies 2 s to answer.
      readinessProbe:
        httpGet: {path: /readyz, port: internal}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      lifecycle:
        # A pod that ends leaves its Service meanwhile; what still comes is served. There is no shell in the image.
        preStop: {sleep: {seconds: {{ .values.preStopSeconds }}}}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      volumeMounts:
        - {name: secrets, mountPath: /run/naru, readOnly: true}
  volumes:
    {{- include "naru.secretVolume" . | nindent 4 }}
{{- end }}
