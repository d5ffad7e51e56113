{{/*
The drivers as the other templates need them, as JSON: {drivers: [...], node: [...], controller: [...]}, where `node` holds those that
have a sidecar in the DaemonSet and `controller` those of the Deployment. What values.schema.json can't say is refused here.
*/}}
{{- define "bulkhead.plan" -}}
{{- $drivers := list -}}
{{- $node := list -}}
{{- $controller := list -}}
{{- $seen := dict -}}
{{- $paths := dict -}}
{{- range $index, $driver := .Values.drivers -}}
  {{- $at := printf "drivers[%d] (%s)" $index $driver.name -}}
  {{- $slug := include "bulkhead.slug" $driver.name -}}
  {{- if hasKey $seen $slug -}}
    {{- fail (printf "%s.name: %s is named alike (case and dots don't count): give each driver its own name" $at (get $seen $slug)) -}}
  {{- end -}}
  {{- $_ := set $seen $slug (printf "drivers[%d]" $index) -}}
  {{- $full := include "bulkhead.driver" (dict "root" $ "driver" $driver "at" $at "slug" $slug) | fromJson -}}
  {{- if hasKey $full "Error" -}}{{- fail (printf "%s: %s" $at $full.Error) -}}{{- end -}}
  {{- range $name, $pool := $full.pools -}}
    {{- range $other, $where := $paths -}}
      {{- if or (hasPrefix (printf "%s/" $other) (printf "%s/" $pool.path)) (hasPrefix (printf "%s/" $pool.path) (printf "%s/" $other)) -}}
        {{- fail (printf "%s.pools.%s.path: %s is or holds or lies in %s, the pool of %s: give each pool a folder of its own" $at $name $pool.path $other $where) -}}
      {{- end -}}
    {{- end -}}
    {{- $_ := set $paths $pool.path (printf "%s.pools.%s" $at $name) -}}
  {{- end -}}
  {{- $drivers = append $drivers $full -}}
  {{- if eq $full.deploy "deployment" -}}{{- $controller = append $controller $full -}}
  {{- else -}}{{- $node = append $node $full -}}{{- end -}}
{{- end -}}
{{- toJson (dict "drivers" $drivers "node" $node "controller" $controller) -}}
{{- end -}}

{{- define "bulkhead.driver" -}}
{{- $root := .root -}}{{- $driver := .driver -}}{{- $at := .at -}}
{{- $deploy := $driver.deploy | default "perNode" -}}
{{- $perNode := eq $deploy "perNode" -}}
{{- $offer := deepCopy ($driver.offer | default dict) -}}
{{- if $perNode -}}
  {{- $offer = merge $offer (dict "attachment" false "modification" false "groupSnapshots" false "mountGroup" false) -}}
  {{- if not (hasKey $offer "expansion") -}}{{- $_ := set $offer "expansion" "node" -}}{{- end -}}
{{- end -}}
{{- range $key, $why := dict "volumeAttributesClasses" "modification" "volumeGroupSnapshotClasses" "groupSnapshots" "volumeSnapshotClasses" "snapshots" -}}
  {{- if and (get $driver $key) (eq (toString (get $offer $why)) "false") -}}
    {{- fail (printf "%s.%s: there can be none, offer.%s is false%s" $at $key $why (ternary " with deploy: perNode" "" (and $perNode (ne $why "snapshots")))) -}}
  {{- end -}}
{{- end -}}
{{- if and $perNode (not $driver.pools) -}}
  {{- fail (printf "%s.pools: with deploy: perNode the storage is on the node, so there is at least one pool" $at) -}}
{{- end -}}
{{- $out := dict "name" $driver.name "slug" .slug "deploy" $deploy "perNode" $perNode "offer" $offer "values" $driver "at" $at -}}
{{- $_ := set $out "attach" (ne (toString $offer.attachment) "false") -}}
{{- $_ := set $out "modify" (ne (toString $offer.modification) "false") -}}
{{- $_ := set $out "expand" (not (has (toString $offer.expansion) (list "false" "none"))) -}}
{{- $_ := set $out "clone" (ne (toString $offer.cloning) "false") -}}
{{- $_ := set $out "snapshots" (ne (toString $offer.snapshots) "false") -}}
{{- $_ := set $out "groups" (and $out.snapshots (ne (toString $offer.groupSnapshots) "false")) -}}
{{- $_ := set $out "topology" (and (not $perNode) (ternary $driver.topology false (hasKey $driver "topology"))) -}}
{{- $csi := $driver.csiDriver | default dict -}}
{{- $_ := set $out "capacity" (ternary $csi.storageCapacity $perNode (hasKey $csi "storageCapacity")) -}}
{{- /* What is free at which place follows from where the driver is registered. */ -}}
{{- $_ := set $out "readsNodes" (and (not $perNode) (or $out.topology $out.capacity)) -}}
{{- $limits := $driver.limits | default dict -}}
{{- $_ := set $out "timeout" (include "bulkhead.seconds" ($limits.callTimeout | default "30s") | atoi) -}}
{{- $source := $driver.backend.source -}}
{{- if $source.image -}}
  {{- $_ := set $out "source" (printf "/usr/lib/bulkhead/backends/%s" $source.image) -}}
{{- else if $source.configMap -}}
  {{- $_ := set $out "source" (printf "/usr/share/bulkhead/%s/%s" .slug $source.configMap.key) -}}
{{- else -}}
  {{- $_ := set $out "source" (printf "/usr/share/bulkhead/%s/%s" .slug $source.file) -}}
{{- end -}}
{{- $settings := eq ($source.image | default "") "local.wasm" -}}
{{- if hasKey $driver.backend "nodeSettings" -}}{{- $settings = $driver.backend.nodeSettings -}}{{- end -}}
{{- $_ := set $out "nodeSettings" (and $perNode $settings) -}}
{{- $_ := set $out "topologyKey" (printf "topology.%s/node" $driver.name) -}}
{{- $_ := set $out "pools" (include "bulkhead.pools" (dict "root" $root "out" $out) | fromJson) -}}
{{- $_ := set $out "files" (include "bulkhead.files" (dict "out" $out) | fromJsonArray) -}}
{{- if and (eq $deploy "deployment") ($driver.grants | default dict).state (not $root.Values.controller.stateVolume) -}}
  {{- fail (printf "%s.grants.state: what the backend keeps must outlive the pod: set controller.stateVolume, like {persistentVolumeClaim: {claimName: bulkhead-state}}" $at) -}}
{{- end -}}
{{- include "bulkhead.checkSockets" (dict "root" $root "out" $out) -}}
{{- toJson $out -}}
{{- end -}}

{{/* What a driver gets of Secrets and ConfigMaps, as sources of a projected volume. A node half has no secrets and sends no requests. */}}
{{- define "bulkhead.files" -}}
{{- $out := .out -}}
{{- $backend := $out.values.backend -}}
{{- $http := $backend.http | default dict -}}
{{- if ne $out.deploy "deployment" -}}
  {{- range $key, $given := dict "secrets" $backend.secrets "auth" $backend.auth "http.ca" $http.ca "http.clientCertificate" $http.clientCertificate -}}
    {{- if $given -}}{{- fail (printf "%s.backend.%s: with deploy: deployment only: nodes get no secrets" $out.at $key) -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- $sources := list -}}
{{- range $name, $from := $backend.secrets | default dict -}}
  {{- $sources = append $sources (dict "secret" (dict "name" $from.secret "items" (list (dict "key" $from.key "path" (printf "secrets/%s" $name))))) -}}
{{- end -}}
{{- with $http.ca -}}
  {{- $items := list (dict "key" (.key | default "ca.crt") "path" "http/ca.crt") -}}
  {{- $sources = append $sources (dict (ternary "secret" "configMap" (hasKey . "secret")) (dict "name" (.secret | default .configMap) "items" $items)) -}}
{{- end -}}
{{- with $http.clientCertificate -}}
  {{- $items := list (dict "key" (.certificate | default "tls.crt") "path" "http/tls.crt") (dict "key" (.key | default "tls.key") "path" "http/tls.key") -}}
  {{- $sources = append $sources (dict "secret" (dict "name" .secret "items" $items)) -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{/* The pools, each with what is mounted for it: {path, mount: {name, path, source, propagation}}. */}}
{{- define "bulkhead.pools" -}}
{{- $root := .root -}}{{- $out := .out -}}
{{- $pools := dict -}}
{{- range $name, $pool := $out.values.pools | default dict -}}
  {{- $at := printf "%s.pools.%s" $out.at $name -}}
  {{- $path := clean $pool.path -}}
  {{- $mount := dict -}}
  {{- if $pool.volume -}}
    {{- if $pool.hostPath -}}{{- fail (printf "%s: hostPath and volume exclude one another" $at) -}}{{- end -}}
    {{- $mount = dict "name" (printf "pool-%s" (sha256sum $path | trunc 8)) "path" $path "source" $pool.volume "propagation" "None" -}}
  {{- else -}}
    {{- if eq $out.deploy "deployment" -}}
      {{- fail (printf "%s.volume: with deploy: deployment a pool is a volume that the controller and all nodes can mount, like nfs or persistentVolumeClaim" $at) -}}
    {{- end -}}
    {{- $folder := clean ($pool.hostPath | default (dir $path)) -}}
    {{- if eq $folder "/" -}}{{- fail (printf "%s.path: %s lies in the root folder, and the pod would get all of the node: put the pool deeper, like /srv/bulkhead/%s" $at $path $name) -}}{{- end -}}
    {{- if not (or (eq $folder $path) (hasPrefix (printf "%s/" $folder) $path)) -}}
      {{- fail (printf "%s.hostPath: %s does not hold the pool's path %s" $at $folder $path) -}}
    {{- end -}}
    {{- range $what, $taken := dict "kubeletRoot" $root.Values.kubeletRoot "stateDir" $root.Values.stateDir -}}
      {{- if or (hasPrefix (printf "%s/" $folder) (printf "%s/" (clean $taken))) (hasPrefix (printf "%s/" (clean $taken)) (printf "%s/" $path)) -}}
        {{- fail (printf "%s.path: the pod would get the node's %s, which holds or is held by %s (%s): put the pool somewhere else, like /srv/bulkhead/%s, or name a folder that holds only pools as hostPath" $at $folder $what $taken $name) -}}
      {{- end -}}
    {{- end -}}
    {{- $type := ternary "Directory" "DirectoryOrCreate" (eq $folder $path) -}}
    {{- $mount = dict "name" (printf "pool-%s" (sha256sum $folder | trunc 8)) "path" $folder "source" (dict "hostPath" (dict "path" $folder "type" $type)) "propagation" "HostToContainer" -}}
  {{- end -}}
  {{- $_ := set $pools $name (dict "path" $path "copyLimit" $pool.copyLimit "mount" $mount) -}}
{{- end -}}
{{- toJson $pools -}}
{{- end -}}

{{/* A unix socket's path has at most 107 bytes. */}}
{{- define "bulkhead.checkSockets" -}}
{{- range list (printf "%s/plugins/%s/csi.sock" .root.Values.kubeletRoot .out.name) (printf "%s/plugins_registry/%s@reg.sock" .root.Values.kubeletRoot .out.name) -}}
  {{- if gt (len .) 107 -}}{{- fail (printf "%s.name: the socket %s would be longer than 107 bytes: shorten the name" $.out.at .) -}}{{- end -}}
{{- end -}}
{{- end -}}
