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
  {{- $driver := dict "name" .name "endpoint" $endpoint "backend" (include "bulkhead.configBackend" (dict "driver" . "half" $half) | fromJson) -}}
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
  {{- with $root.Values.node.facts -}}{{- $_ := set $node "facts" . -}}{{- end -}}
{{- end -}}
{{- if $root.Values.nodeDirectory.volume -}}{{- $_ := set $node "directory" "/var/lib/bulkhead-nodes" -}}{{- end -}}
{{- $state := ternary $root.Values.stateDir "/var/lib/bulkhead" $onNode -}}
{{- $health := dict "endpoint" (printf "%s:%d" $root.Values.health.address (int $root.Values.health.port)) -}}
{{- $config := dict "version" 1 "stateDir" $state "health" $health "limits" $root.Values.limits "drivers" $drivers -}}
{{- with $node -}}{{- $_ := set $config "node" . -}}{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "bulkhead.configBackend" -}}
{{- $driver := .driver -}}
{{- $values := $driver.values -}}
{{- $grants := deepCopy ($values.grants | default dict) -}}
{{- $config := deepCopy ($values.backend.config | default dict) -}}
{{- if $driver.pools -}}
  {{- $pools := dict -}}
  {{- range $name, $pool := $driver.pools -}}
    {{- $entry := dict "path" $pool.path -}}
    {{- with $pool.copyLimit -}}{{- $_ := set $entry "copyLimit" . -}}{{- end -}}
    {{- $_ := set $pools $name $entry -}}
  {{- end -}}
  {{- $_ := set $grants "pools" $pools -}}
  {{- if not (hasKey $grants "access") -}}{{- $_ := set $grants "access" (list "pool-image" "pool-directory") -}}{{- end -}}
{{- end -}}
{{- if $driver.nodeSettings -}}
  {{- $here := dict $driver.topologyKey "${NODE_NAME}" -}}
  {{- $places := dict -}}
  {{- range $name, $_ := $driver.pools -}}{{- $_ := set $places $name (dict "accessibleFrom" (list $here)) -}}{{- end -}}
  {{- $config = merge $config (dict "node" "${NODE_NAME}" "topologyKeys" (list $driver.topologyKey) "pools" $places) -}}
{{- end -}}
{{- $backend := dict "source" $driver.source -}}
{{- with $values.backend.digest -}}{{- $_ := set $backend "digest" . -}}{{- end -}}
{{- with $config -}}{{- $_ := set $backend "config" . -}}{{- end -}}
{{- $requests := include "bulkhead.configRequests" . | fromJson -}}
{{- with $requests.grant -}}{{- $_ := set $grants "http" . -}}{{- end -}}
{{- with $grants -}}{{- $_ := set $backend "grants" . -}}{{- end -}}
{{- $backend = merge $backend $requests.backend -}}
{{- toJson $backend -}}
{{- end -}}

{{/*
How requests are sent and signed: {backend: {http, auth, secrets}, grant: grants.http}. Nodes of a driver with a Deployment get none of it
but what may be imported: they send nothing, and hold no secret.
*/}}
{{- define "bulkhead.configRequests" -}}
{{- $driver := .driver -}}
{{- $values := $driver.values.backend -}}
{{- $grant := deepCopy (($driver.values.grants | default dict).http | default list) -}}
{{- $backend := dict -}}
{{- $http := deepCopy ($values.http | default dict) -}}
{{- if and (eq .half "node") (eq $driver.deploy "deployment") -}}
  {{- range $grant -}}{{- $_ := unset . "auth" -}}{{- end -}}
  {{- $http = omit $http "ca" "clientCertificate" -}}
{{- else -}}
  {{- $folder := printf "/etc/bulkhead-files/%s" $driver.slug -}}
  {{- $secrets := dict -}}
  {{- range $name, $_ := $values.secrets | default dict -}}
    {{- $_ := set $secrets $name (dict "file" (printf "%s/secrets/%s" $folder $name)) -}}
  {{- end -}}
  {{- with $secrets -}}{{- $_ := set $backend "secrets" . -}}{{- end -}}
  {{- with $values.auth -}}{{- $_ := set $backend "auth" . -}}{{- end -}}
  {{- if $http.ca -}}{{- $_ := set $http "ca" (printf "%s/http/ca.crt" $folder) -}}{{- end -}}
  {{- if $http.clientCertificate -}}
    {{- $_ := set $http "clientCertificate" (dict "certificate" (printf "%s/http/tls.crt" $folder) "key" (printf "%s/http/tls.key" $folder)) -}}
  {{- end -}}
{{- end -}}
{{- with $http -}}{{- $_ := set $backend "http" . -}}{{- end -}}
{{- toJson (dict "backend" $backend "grant" $grant) -}}
{{- end -}}
