#include "objects.h"

#include <stdlib.h>

/* Longest id that CSI allows. */
#define MAX_ID 128
#define KEY_DIGITS 32

bool is_name(text name) {
  if (name.len != OURS.len + KEY_DIGITS || !starts_with(name, OURS)) return false;
  for (size_t i = OURS.len; i < name.len; i++) {
    uint8_t c = name.ptr[i];
    if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) return false;
  }
  return true;
}

bool parse_id(text id, place *place) {
  size_t name = OURS.len + KEY_DIGITS;
  if (id.len <= name + 1 || id.ptr[id.len - name - 1] != '/') return false;
  place->pool = (text){id.ptr, id.len - name - 1};
  place->name = (text){id.ptr + id.len - name, name};
  return is_name(place->name);
}

bool only_pool(text *pool, failure *error) {
  pool_list_string_t names;
  bulkhead_backend_pools_pool_names(&names);
  if (names.len != 1) {
    text message = JOIN(T("this backend wants one pool, and grants.pools names "), number(names.len));
    return fail(error, PRECONDITION, message);
  }
  size_t longest = MAX_ID - OURS.len - KEY_DIGITS - 1;
  if (names.ptr[0].len > longest) {
    text message = JOIN(T("the name of the pool is too long: give it at most "), number(longest), T(" characters"));
    return fail(error, PRECONDITION, message);
  }
  *pool = names.ptr[0];
  return true;
}

found look(const place *place, object *object, failure *error) {
  text pool = place->pool, name = place->name;
  bulkhead_backend_pools_option_object_t answer;
  refusal refusal;
  if (!bulkhead_backend_pools_stat_object(&pool, &name, &answer, &refusal)) {
    if (refusal.tag == BULKHEAD_BACKEND_POOLS_POOL_ERROR_NO_SUCH_POOL) return OUT_OF_SIGHT;
    fail_as(error, &refusal);
    return FAILED;
  }
  if (!answer.is_some || lookup(&answer.val.spec.metadata, CSI_NAME) == NULL) return MISSING;
  *object = answer.val;
  return FOUND;
}

bool find(text id, place *place, object *object, failure *error) {
  if (parse_id(id, place)) {
    found found = look(place, object, error);
    if (found == FOUND || found == FAILED) return found == FOUND;
  }
  return fail(error, NOT_FOUND, JOIN(T("volume "), id));
}

volume describe(const place *place, const object *object) {
  volume volume = {0};
  volume.volume_id = JOIN(place->pool, T("/"), place->name);
  volume.capacity_bytes = object->spec.size_bytes;
  volume.context.ptr = malloc(sizeof *volume.context.ptr);
  add(&volume.context, TYPE, kind_name(object->spec.kind));
  const text *digest = lookup(&object->spec.metadata, DIGEST);
  if (digest != NULL) {
    volume.request_digest.is_some = true;
    volume.request_digest.val = JOIN(*digest);
  }
  return volume;
}

text kind_name(bulkhead_backend_pools_object_kind_t kind) {
  return kind == BULKHEAD_BACKEND_POOLS_OBJECT_KIND_IMAGE ? T("image") : T("directory");
}
