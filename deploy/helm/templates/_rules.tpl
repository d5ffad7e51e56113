{{/* The rules of the sidecars of a pod, as JSON: {SIDECAR: {ClusterRole: [...], Role: [...]}}. */}}
{{- define "bulkhead.rules" -}}
{{- $on := dict -}}
{{- $leases := dict "provisioner" list "attacher" list "resizer" list "snapshotter" list -}}
{{- range .drivers -}}
  {{- $driver := . -}}
  {{- range list "perNode" "attach" "modify" "clone" "snapshots" "groups" "readsNodes" "capacity" -}}
    {{- if get $driver . -}}{{- $_ := set $on . true -}}{{- end -}}
  {{- end -}}
  {{- if or .expand .modify -}}
    {{- $_ := set $on "resizer" true -}}
    {{- $_ := set $leases "resizer" (append $leases.resizer (include "bulkhead.lease" (printf "external-resizer-%s" .name))) -}}
  {{- end -}}
  {{- if not .perNode -}}
    {{- $_ := set $leases "provisioner" (append $leases.provisioner (include "bulkhead.lease" .name)) -}}
    {{- if .attach -}}{{- $_ := set $leases "attacher" (append $leases.attacher (include "bulkhead.lease" (printf "external-attacher-leader-%s" .name))) -}}{{- end -}}
    {{- if .snapshots -}}{{- $_ := set $leases "snapshotter" (append $leases.snapshotter (include "bulkhead.lease" (printf "external-snapshotter-leader-%s" .name))) -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- $core := "" -}}{{- $storage := "storage.k8s.io" -}}{{- $snapshot := "snapshot.storage.k8s.io" -}}{{- $group := "groupsnapshot.storage.k8s.io" -}}
{{- $events := dict "group" $core "resources" (list "events") "verbs" (list "create" "patch") -}}
{{- $out := dict -}}

{{- $volumes := ternary (list "get" "list" "watch" "create" "patch" "delete") (list "list" "watch" "create" "patch" "delete") (hasKey $on "clone") -}}
{{- $rules := list
  (dict "group" $core "resources" (list "persistentvolumes") "verbs" $volumes)
  (dict "group" $core "resources" (list "persistentvolumeclaims") "verbs" (list "list" "watch" "update"))
  (dict "group" $storage "resources" (list "storageclasses") "verbs" (list "list" "watch"))
  $events -}}
{{- if $on.snapshots -}}
  {{- $rules = concat $rules (list
    (dict "group" $snapshot "resources" (list "volumesnapshots") "verbs" (list "get" "list" "watch" "update"))
    (dict "group" $snapshot "resources" (list "volumesnapshotcontents") "verbs" (list "get"))) -}}
{{- end -}}
{{- if $on.readsNodes -}}
  {{- $rules = concat $rules (list
    (dict "group" $storage "resources" (list "csinodes") "verbs" (list "list" "watch"))
    (dict "group" $core "resources" (list "nodes") "verbs" (list "list" "watch"))) -}}
{{- end -}}
{{- if $on.attach -}}{{- $rules = append $rules (dict "group" $storage "resources" (list "volumeattachments") "verbs" (list "list" "watch")) -}}{{- end -}}
{{- if $on.modify -}}{{- $rules = append $rules (dict "group" $storage "resources" (list "volumeattributesclasses") "verbs" (list "get")) -}}{{- end -}}
{{- $local := list -}}
{{- if $on.capacity -}}
  {{- $local = concat $local (list
    (dict "group" $storage "resources" (list "csistoragecapacities") "verbs" (list "list" "watch" "create" "update" "delete"))
    (dict "group" $core "resources" (list "pods") "verbs" (list "get"))) -}}
  {{- if eq .half "controller" -}}{{- $local = append $local (dict "group" "apps" "resources" (list "replicasets") "verbs" (list "get")) -}}{{- end -}}
{{- end -}}
{{- $_ := set $out "provisioner" (dict "ClusterRole" $rules "Role" $local) -}}

{{- if $on.attach -}}
  {{- $rules = list
    (dict "group" $core "resources" (list "persistentvolumes") "verbs" (list "list" "watch" "patch"))
    (dict "group" $storage "resources" (list "csinodes") "verbs" (list "list" "watch"))
    (dict "group" $storage "resources" (list "volumeattachments") "verbs" (list "list" "watch" "patch"))
    (dict "group" $storage "resources" (list "volumeattachments/status") "verbs" (list "patch")) -}}
  {{- $_ := set $out "attacher" (dict "ClusterRole" $rules "Role" (list (dict "group" $core "resources" (list "events") "verbs" (list "create")))) -}}
{{- end -}}

{{- if $on.resizer -}}
  {{- $rules = list
    (dict "group" $core "resources" (list "persistentvolumes") "verbs" (list "list" "watch" "patch"))
    (dict "group" $core "resources" (list "persistentvolumeclaims") "verbs" (list "list" "watch"))
    (dict "group" $core "resources" (list "persistentvolumeclaims/status") "verbs" (list "patch"))
    $events -}}
  {{- if $on.modify -}}{{- $rules = append $rules (dict "group" $storage "resources" (list "volumeattributesclasses") "verbs" (list "list" "watch")) -}}{{- end -}}
  {{- $_ := set $out "resizer" (dict "ClusterRole" $rules "Role" list) -}}
{{- end -}}

{{- if $on.snapshots -}}
  {{- $rules = list $events
    (dict "group" $snapshot "resources" (list "volumesnapshotclasses") "verbs" (list "list" "watch"))
    (dict "group" $snapshot "resources" (list "volumesnapshotcontents") "verbs" (list "get" "list" "watch" "patch"))
    (dict "group" $snapshot "resources" (list "volumesnapshotcontents/status") "verbs" (list "update" "patch")) -}}
  {{- if $on.groups -}}
    {{- $rules = concat $rules (list
      (dict "group" $group "resources" (list "volumegroupsnapshotclasses") "verbs" (list "list" "watch"))
      (dict "group" $group "resources" (list "volumegroupsnapshotcontents") "verbs" (list "get" "list" "watch" "patch"))
      (dict "group" $group "resources" (list "volumegroupsnapshotcontents/status") "verbs" (list "update" "patch"))) -}}
  {{- end -}}
  {{- $_ := set $out "snapshotter" (dict "ClusterRole" $rules "Role" list) -}}
{{- end -}}

{{/* Leader election. Leases are made by name, which a rule on `create` can't see. */}}
{{- range $sidecar, $names := $leases -}}
  {{- if $names -}}
    {{- $of := get $out $sidecar -}}
    {{- $_ := set $of "Role" (concat $of.Role (list
      (dict "group" "coordination.k8s.io" "resources" (list "leases") "verbs" (list "create"))
      (dict "group" "coordination.k8s.io" "resources" (list "leases") "names" $names "verbs" (list "get" "update")))) -}}
  {{- end -}}
{{- end -}}
{{- toJson $out -}}
{{- end -}}
