{{/* The sidecars of one driver, as a list of containers. `pod` is "node" or "controller". */}}
{{- define "bulkhead.sidecars" -}}
{{- $root := .root -}}{{- $pod := .pod -}}{{- $driver := .driver -}}
{{- $context := dict "root" $root "pod" $pod "driver" $driver -}}
{{- $seconds := add $driver.timeout 5 -}}
{{- $lease := list "--leader-election" "--leader-election-namespace=$(NAMESPACE)" -}}
{{- $retry := printf "--retry-interval-max=%s" $root.Values.sidecars.retryIntervalMax -}}
{{- $timeout := printf "--timeout=%ds" $seconds -}}
{{- $fs := printf "--default-fstype=%s" ($driver.values.defaultFsType | default "ext4") -}}

{{- $args := list $timeout $retry $fs "--extra-create-metadata" -}}
{{- if $driver.perNode -}}
  {{- $args = concat $args (list "--node-deployment" "--strict-topology" "--immediate-topology=false" "--worker-threads=16") -}}
{{- else -}}
  {{- /* Where a driver claims topology and its nodes have no keys, the provisioner refuses every late-bound claim. */ -}}
  {{- $args = concat $args $lease (list "--worker-threads=64" (printf "--feature-gates=Topology=%t" $driver.topology)) -}}
{{- end -}}
{{- if $driver.capacity -}}
  {{- $args = concat $args (list "--enable-capacity" (printf "--capacity-ownerref-level=%d" (ternary 1 2 (eq $pod "node")))) -}}
{{- end -}}
{{ include "bulkhead.sidecar" (merge (dict "kind" "provisioner" "args" $args) $context) }}
{{- if $driver.attach }}
{{ include "bulkhead.sidecar" (merge (dict "kind" "attacher" "args" (concat (list $timeout $retry $fs "--worker-threads=32") $lease)) $context) }}
{{- end }}
{{- if or $driver.expand $driver.modify }}
{{ include "bulkhead.sidecar" (merge (dict "kind" "resizer" "args" (concat (list $timeout $retry "--handle-volume-inuse-error=false") $lease)) $context) }}
{{- end }}
{{- if $driver.snapshots }}
{{- $args = list $timeout $retry (printf "--feature-gates=CSIVolumeGroupSnapshot=%t" $driver.groups) -}}
{{- if $driver.perNode -}}{{- $args = append $args "--node-deployment" -}}{{- else -}}{{- $args = concat $args $lease -}}{{- end }}
{{ include "bulkhead.sidecar" (merge (dict "kind" "snapshotter" "args" $args) $context) }}
{{- end }}
{{- end -}}

{{- define "bulkhead.sidecar" -}}
{{- $sidecars := .root.Values.sidecars -}}
{{- $values := get $sidecars .kind -}}
{{- $onNode := eq .pod "node" -}}
- name: {{ .kind }}-{{ .driver.slug }}
  image: {{ $values.image }}
  imagePullPolicy: {{ $sidecars.pullPolicy }}
  # `kubectl describe pod` then shows what a sidecar said at its end: why the driver is not ready, for one.
  terminationMessagePolicy: FallbackToLogsOnError
  args:
    - --csi-address=/csi/{{ ternary "csi" .driver.name $onNode }}.sock
    - --v={{ $sidecars.logLevel }}
    - --kube-api-qps={{ $sidecars.kubeApiQps }}
    - --kube-api-burst={{ $sidecars.kubeApiBurst }}
    {{- range concat .args $values.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  env:
    - name: NODE_NAME
      valueFrom: { fieldRef: { fieldPath: spec.nodeName } }
    - name: POD_NAME
      valueFrom: { fieldRef: { fieldPath: metadata.name } }
    - name: NAMESPACE
      valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
  securityContext:
    {{- $context := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) "seccompProfile" (dict "type" "RuntimeDefault") }}
    {{- if $onNode }}
    {{- /* root without capabilities: the host's socket is root's alone */}}
    {{- $context = merge (deepCopy $sidecars.securityContext) $context (dict "runAsUser" 0 "runAsGroup" 0) }}
    {{- end }}
    {{- toYaml $context | nindent 4 }}
  {{- with $values.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: {{ ternary (printf "socket-%s" .driver.slug) "sockets" $onNode }}
      mountPath: /csi
    - name: api
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
{{- end -}}
