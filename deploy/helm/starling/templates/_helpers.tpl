{{/* Name of everything: the release, with the chart's name unless it has it. 40 characters leave room for what follows. */}}
{{- define "starling.name" -}}
{{- if contains "starling" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-starling" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "starling.selector" -}}
app.kubernetes.io/name: starling
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "starling.labels" -}}
{{ include "starling.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "starling.image" -}}
image: {{ printf "%s/starling-%s:%s" .root.Values.image.registry .part (.root.Values.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}

{{/* Addresses of all aggregators with a port, as a TOML list. */}}
{{- define "starling.aggregators" -}}
{{- $name := include "starling.name" .root }}
{{- $all := list }}
{{- range $i := until (int .root.Values.aggregator.replicas) }}
{{- $all = append $all (printf "%s-aggregator-%d.%s-aggregator.%s.svc:%s" $name $i $name $.root.Release.Namespace $.port) }}
{{- end }}
{{- toJson $all }}
{{- end }}

{{/* A table of texts in TOML. */}}
{{- define "starling.table" -}}
{{- $pairs := list }}
{{- range $key, $value := . }}{{ $pairs = append $pairs (printf "%s = %s" (toJson $key) (toJson $value)) }}{{ end }}
{{- printf "{ %s }" (join ", " $pairs) }}
{{- end }}

{{/* Variables of a program: how it may speak beyond loopback, then what the values set. Each program has a certificate of its
own name: an aggregator's by its pod, a node's by its host. `insecure` opens what has no TLS: the admin ports and the page. */}}
{{- define "starling.environment" -}}
{{- $prefix := printf "STARLING_%s__" (upper .part) }}
{{- $files := dict "aggregator" "$(POD).crt $(POD).key ca.crt" "dashboard" "tls.crt tls.key ca.crt" "node" "certificate.pem key.pem ca.pem" }}
{{- if .root.Values.tls.aggregatorSecret }}
{{- $names := splitList " " (get $files .part) }}
- {name: {{ $prefix }}TLS__CERTIFICATE, value: /etc/starling/tls/{{ index $names 0 }}}
- {name: {{ $prefix }}TLS__KEY, value: /etc/starling/tls/{{ index $names 1 }}}
- {name: {{ $prefix }}TLS__CA, value: /etc/starling/tls/{{ index $names 2 }}}
{{- if ne .part "node" }}
- {name: {{ $prefix }}INSECURE, value: "true"}
{{- end }}
{{- else if .root.Values.insecure }}
- {name: {{ $prefix }}INSECURE, value: "true"}
{{- else }}
{{- fail "pods reach each other beyond loopback: name a secret with certificates in tls.aggregatorSecret, or set insecure=true for plain text" }}
{{- end }}
{{- range $key, $value := .settings }}
- {name: {{ $prefix }}{{ $key | replace "." "__" | upper }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{- define "starling.tls.mount" -}}
{{- if .Values.tls.aggregatorSecret }}
- {name: tls, mountPath: /etc/starling/tls, readOnly: true}
{{- end }}
{{- end }}

{{/* Aggregators trust each other and share a secret; a node has the key of its host alone. */}}
{{- define "starling.tls.volume" -}}
{{- $tls := .root.Values.tls }}
{{- if $tls.aggregatorSecret }}
{{- if eq .part "node" }}
- {name: tls, hostPath: {path: {{ $tls.nodeHostPath }}, type: Directory}}
{{- else }}
- name: tls
  secret:
    secretName: {{ eq .part "aggregator" | ternary $tls.aggregatorSecret (required "tls.dashboardSecret: the dashboard has a certificate of its own" $tls.dashboardSecret) }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end }}

{{/* 65532 owns what is in the volumes, in every release. */}}
{{- define "starling.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "starling.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
