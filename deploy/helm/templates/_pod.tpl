{{/* What the host's container has in both pods: probes and mounts of config and backends. */}}
{{- define "bulkhead.probes" -}}
ports:
  - { name: health, containerPort: {{ .Values.health.port }}, protocol: TCP }
# Loading backends doesn't keep /livez from answering; a broken driver fails /readyz only, so that it can't restart the others.
startupProbe:
  httpGet: { path: /livez, port: health }
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: health }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: health }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* The mounts of pools, without repeats: a JSON object from volume name to mount. */}}
{{- define "bulkhead.poolMounts" -}}
{{- $mounts := dict -}}
{{- range .drivers -}}
  {{- range $name, $pool := .pools -}}{{- $_ := set $mounts $pool.mount.name $pool.mount -}}{{- end -}}
{{- end -}}
{{- toJson $mounts -}}
{{- end -}}

{{- define "bulkhead.dataMounts" -}}
- { name: config, mountPath: /etc/bulkhead, readOnly: true }
{{- range .drivers }}
{{- if not .values.backend.source.image }}
- { name: backend-{{ .slug }}, mountPath: /usr/share/bulkhead/{{ .slug }}, readOnly: true }
{{- end }}
{{- end }}
{{- range $name, $mount := include "bulkhead.poolMounts" . | fromJson }}
- { name: {{ $name }}, mountPath: {{ $mount.path }}, mountPropagation: {{ $mount.propagation }} }
{{- end }}
{{- if .root.Values.nodeDirectory.volume }}
- { name: nodes, mountPath: /var/lib/bulkhead-nodes }
{{- end }}
{{- end -}}

{{- define "bulkhead.dataVolumes" -}}
- name: config
  configMap: { name: {{ .config }} }
{{- range .drivers }}
{{- $source := .values.backend.source }}
{{- if $source.configMap }}
- name: backend-{{ .slug }}
  configMap: { name: {{ $source.configMap.name }}, items: [{ key: {{ $source.configMap.key }}, path: {{ $source.configMap.key }} }] }
{{- else if $source.volume }}
- name: backend-{{ .slug }}
  {{- toYaml $source.volume | nindent 2 }}
{{- end }}
{{- end }}
{{- range $name, $mount := include "bulkhead.poolMounts" . | fromJson }}
- name: {{ $name }}
  {{- toYaml $mount.source | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeDirectory.volume }}
- name: nodes
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The API server's token, for sidecars only: the host never talks to the API server. */}}
{{- define "bulkhead.apiVolume" -}}
- name: api
  projected:
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3607 }
      - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
      - downwardAPI: { items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }] }
{{- end -}}

{{/* Seconds until a pod is killed: running calls end first. */}}
{{- define "bulkhead.grace" -}}
{{- $grace := 0 -}}
{{- range .drivers -}}{{- $grace = max $grace (add .timeout 10) -}}{{- end -}}
{{- .given | default $grace | int -}}
{{- end -}}
