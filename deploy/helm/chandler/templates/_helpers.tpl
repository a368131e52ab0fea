{{- define "chandler.name" -}}
{{- if contains "chandler" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-chandler" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "chandler.configMap" -}}
{{- if .Values.existingConfigMap -}}
{{- .Values.existingConfigMap -}}
{{- else -}}
{{- printf "%s-%s" (include "chandler.name" .) (.Values.config | toYaml | sha256sum | trunc 10) -}}
{{- end -}}
{{- end -}}

{{/* The directories of the host that the profiles of the configuration read, beside what all of them do. */}}
{{- define "chandler.reads" -}}
{{- $known := .Files.Get "files/reads.yaml" | fromYaml -}}
{{- $dirs := .Values.hostPaths -}}
{{- if not .Values.existingConfigMap -}}
{{- range .Values.config.resources -}}
{{- with .profile -}}
{{- $name := kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") . -}}
{{- range get $known (toString $name) | default list -}}
{{- $dirs = append $dirs . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $dirs | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/*
Those of `hostPaths` that a node may lack, or in which something is mounted later. One that a profile reads is there on
every node; and a runtime refuses to follow mounts on nodes where they are not shared, so it is not asked without need.
*/}}
{{- define "chandler.late" -}}
{{- $dirs := list -}}
{{- range .Values.hostPaths -}}
{{- if not (regexMatch "^/(proc|sys)(/|$)" .) -}}
{{- $dirs = append $dirs . -}}
{{- end -}}
{{- end -}}
{{- $dirs | toJson -}}
{{- end -}}

{{/* The directory of the host in which Node Feature Discovery reads labels, if there are to be any. */}}
{{- define "chandler.labelsDir" -}}
{{- if or .Values.labelsDir .Values.existingConfigMap -}}
{{- .Values.labelsDir -}}
{{- else -}}
{{- dig "labels" "dir" "" .Values.config -}}
{{- end -}}
{{- end -}}

{{- define "chandler.selector" -}}
app.kubernetes.io/name: chandler
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "chandler.labels" -}}
{{ include "chandler.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "chandler.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}
