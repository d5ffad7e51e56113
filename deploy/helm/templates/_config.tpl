{{/* The host's config file. `half` is "node" or "controller". */}}
{{- define "bulkhead.config" -}}
{{- $root := .root -}}{{- $half := .half -}}
{{- $onNode := eq $half "node" -}}
{{- $labels := deepCopy $root.Values.node.labels -}}
{{- $drivers := list -}}
{{- range .drivers -}}
  {{- if .nodeSettings -}}{{- $_ := set $labels .topologyKey "${NODE_NAME}" -}}{{- end -}}
  {{- $endpoint := printf "unix:///run/bulkhead/%s.sock" .name -}}
  {{- if $onNode -}}{{- $endpoint = printf "unix://%s/plugins/%s/csi.sock" $root.Values.kubeletRoot .name -}}{{- end -}}
  {{- $driver := dict "name" .name "endpoint" $endpoint "backend" (include "bulkhead.configBackend" . | fromJson) -}}
  {{- with .values.csi -}}{{- $_ := set $driver "csi" . -}}{{- end -}}
  {{- with .values.limits -}}{{- $_ := set $driver "limits" . -}}{{- end -}}
  {{- with .offer -}}{{- $_ := set $driver "offer" . -}}{{- end -}}
  {{- $drivers = append $drivers $driver -}}
{{- end -}}
{{- $node := dict -}}
{{- if $onNode -}}
  {{- $_ := set $node "kubeletRoot" $root.Values.kubeletRoot -}}
  {{- $_ := set $node "id" "${NODE_NAME}" -}}
  {{- $_ := set $node "registration" true -}}
  {{- with $labels -}}{{- $_ := set $node "labels" . -}}{{- end -}}
{{- end -}}
{{- if $root.Values.nodeDirectory.volume -}}{{- $_ := set $node "directory" "/var/lib/bulkhead-nodes" -}}{{- end -}}
{{- $state := ternary $root.Values.stateDir "/var/lib/bulkhead" $onNode -}}
{{- $health := dict "endpoint" (printf "%s:%d" $root.Values.health.address (int $root.Values.health.port)) -}}
{{- $config := dict "version" 1 "stateDir" $state "health" $health "limits" $root.Values.limits "drivers" $drivers -}}
{{- with $node -}}{{- $_ := set $config "node" . -}}{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "bulkhead.configBackend" -}}
{{- $values := .values -}}
{{- $grants := deepCopy ($values.grants | default dict) -}}
{{- $config := deepCopy ($values.backend.config | default dict) -}}
{{- if .pools -}}
  {{- $pools := dict -}}
  {{- range $name, $pool := .pools -}}
    {{- $entry := dict "path" $pool.path -}}
    {{- with $pool.copyLimit -}}{{- $_ := set $entry "copyLimit" . -}}{{- end -}}
    {{- $_ := set $pools $name $entry -}}
  {{- end -}}
  {{- $_ := set $grants "pools" $pools -}}
  {{- if not (hasKey $grants "access") -}}{{- $_ := set $grants "access" (list "pool-image" "pool-directory") -}}{{- end -}}
{{- end -}}
{{- if .nodeSettings -}}
  {{- $here := dict .topologyKey "${NODE_NAME}" -}}
  {{- $places := dict -}}
  {{- range $name, $_ := .pools -}}{{- $_ := set $places $name (dict "accessibleFrom" (list $here)) -}}{{- end -}}
  {{- $config = merge $config (dict "node" "${NODE_NAME}" "topologyKeys" (list .topologyKey) "pools" $places) -}}
{{- end -}}
{{- $backend := dict "source" .source -}}
{{- with $values.backend.digest -}}{{- $_ := set $backend "digest" . -}}{{- end -}}
{{- with $config -}}{{- $_ := set $backend "config" . -}}{{- end -}}
{{- with $grants -}}{{- $_ := set $backend "grants" . -}}{{- end -}}
{{- toJson $backend -}}
{{- end -}}
