/* Making, checking, growing and removing volumes; how much room there is. */
#include "class.h"

#include <stdlib.h>

static void say(text what, const place *place) {
  text line = JOIN(what, T(" "), place->pool, T("/"), place->name);
  bulkhead_backend_logging_log(BULKHEAD_BACKEND_LOGGING_LEVEL_INFO, &line);
}

/* The volume that is there, if it is the one of that name. */
static bool named(const place *place, const object *there, text csi_name, volume *volume, failure *error) {
  const text *name = lookup(&there->spec.metadata, CSI_NAME);
  if (name == NULL || !equal(*name, csi_name)) {
    return fail(error, EXISTS, JOIN(place->pool, T("/"), place->name, T(" was made for something else")));
  }
  *volume = describe(place, there);
  return true;
}

static bool make(const place *place, const class *class, uint64_t bytes,
                 const exports_bulkhead_backend_volumes_create_volume_request_t *request, volume *volume, failure *error) {
  bulkhead_backend_pools_object_spec_t spec = {
      .name = place->name, .kind = class->kind, .size_bytes = bytes, .provisioning = class->provisioning};
  spec.metadata.ptr = calloc(2, sizeof *spec.metadata.ptr);
  if (spec.metadata.ptr == NULL) __builtin_trap();
  add(&spec.metadata, CSI_NAME, request->name);
  add(&spec.metadata, DIGEST, request->request_digest);
  text pool = place->pool;
  bulkhead_backend_pools_created_t created;
  refusal refusal;
  if (!bulkhead_backend_pools_create_object(&pool, &spec, &created, &refusal)) return fail_as(error, &refusal);
  /* Another call was quicker. */
  if (created.tag == BULKHEAD_BACKEND_POOLS_CREATED_THERE) {
    return named(place, &created.val.there, request->name, volume, error);
  }
  say(T("made"), place);
  *volume = describe(place, &created.val.made);
  return true;
}

bool exports_bulkhead_backend_volumes_create_volume(exports_bulkhead_backend_volumes_create_volume_request_t *request,
                                                    volume *ret, failure *err) {
  class class;
  text problem = read_class(&request->parameters, &class);
  if (problem.len == 0) problem = refused(request->capabilities.ptr, request->capabilities.len, class.kind);
  if (problem.len != 0) return fail(err, INVALID, problem);

  place place;
  text key;
  if (!only_pool(&place.pool, err)) return false;
  if (!bulkhead_backend_call_idempotency_key(&key)) return fail(err, INTERNAL, T("no key of a create request"));
  place.name = JOIN(OURS, key);
  if (!is_name(place.name)) return fail(err, INTERNAL, T("a key of another shape than 32 hexadecimal digits"));

  /* What is there is given as it is: the host compares it with the request. */
  object there;
  found found = look(&place, &there, err);
  if (found == FAILED) return false;
  if (found == FOUND) return named(&place, &there, request->name, ret, err);
  uint64_t bytes, least = smallest(request->capabilities.ptr, request->capabilities.len, class.kind);
  const capacity_range *range = request->capacity.is_some ? &request->capacity.val : NULL;
  return choose_size(range, least, &bytes, err) && make(&place, &class, bytes, request, ret, err);
}

bool exports_bulkhead_backend_volumes_delete_volume(text *volume_id, failure *err) {
  place place;
  object there;
  if (!parse_id(*volume_id, &place)) return true;
  found found = look(&place, &there, err);
  if (found == MISSING || found == FAILED) return found == MISSING;
  /* That isn't "unknown, so gone": the data may still be in it. */
  if (found == OUT_OF_SIGHT) {
    return fail(err, PRECONDITION, JOIN(T("volume "), *volume_id, T(": its pool isn't granted to this backend")));
  }
  refusal refusal;
  if (!bulkhead_backend_pools_delete_object(&place.pool, &place.name, &refusal)) return fail_as(err, &refusal);
  say(T("deleted"), &place);
  return true;
}

static bool same(const string_map *a, const string_map *b) {
  if (a->len != b->len) return false;
  for (size_t i = 0; i < a->len; i++) {
    const text *other = lookup(b, a->ptr[i].f0);
    if (other == NULL || !equal(*other, a->ptr[i].f1)) return false;
  }
  return true;
}

/* Why the volume isn't what the request describes; empty: it is. */
static text misfit(const place *place, const object *object,
                   const exports_bulkhead_backend_volumes_validate_request_t *request) {
  const capability *ways = request->capabilities.ptr;
  size_t count = request->capabilities.len;
  text problem = refused(ways, count, object->spec.kind);
  if (problem.len != 0) return problem;
  if (object->spec.size_bytes < smallest(ways, count, object->spec.kind)) {
    return T("the volume is too small for a file system");
  }
  volume volume = describe(place, object);
  if (request->context.len != 0 && !same(&request->context, &volume.context)) {
    return T("the volume context isn't this volume's");
  }
  if (request->mutable_parameters.len != 0) return T("volumes have no parameters that can be changed");
  if (request->parameters.len == 0) return T("");
  class class;
  problem = read_class(&request->parameters, &class);
  if (problem.len != 0) return problem;
  if (class.kind != object->spec.kind) return T("the volume has another type");
  if (class.provisioning != object->spec.provisioning) return T("the volume has another provisioning");
  return T("");
}

bool exports_bulkhead_backend_volumes_validate_volume_capabilities(
    exports_bulkhead_backend_volumes_validate_request_t *request, pool_option_string_t *ret, failure *err) {
  place place;
  object object;
  if (!find(request->volume_id, &place, &object, err)) return false;
  text problem = misfit(&place, &object, request);
  ret->is_some = problem.len != 0;
  if (ret->is_some) ret->val = JOIN(problem);
  return true;
}

bool exports_bulkhead_backend_expansion_expand_volume(exports_bulkhead_backend_expansion_expand_request_t *request,
                                                      exports_bulkhead_backend_expansion_expanded_t *ret, failure *err) {
  place place;
  object object;
  if (!find(request->volume_id, &place, &object, err)) return false;
  if (request->capability.is_some) {
    text problem = refused(&request->capability.val, 1, object.spec.kind);
    if (problem.len != 0) return fail(err, INVALID, problem);
  }
  capacity_range range = request->capacity;
  if (!range.required.is_some) {
    range.required.is_some = true;
    range.required.val = object.spec.size_bytes;
  }
  uint64_t bytes;
  if (!choose_size(&range, object.spec.size_bytes, &bytes, err)) return false;
  refusal refusal;
  if (bytes > object.spec.size_bytes &&
      !bulkhead_backend_pools_resize_object(&place.pool, &place.name, bytes, &object, &refusal)) {
    return fail_as(err, &refusal);
  }
  ret->capacity_bytes = object.spec.size_bytes;
  ret->node_expansion_required = object.spec.kind == BULKHEAD_BACKEND_POOLS_OBJECT_KIND_IMAGE;
  return true;
}

bool exports_bulkhead_backend_capacity_get_capacity(exports_bulkhead_backend_capacity_capacity_request_t *request,
                                                    exports_bulkhead_backend_capacity_available_t *ret, failure *err) {
  class class;
  text pool, problem = read_class(&request->parameters, &class);
  if (problem.len != 0) return fail(err, INVALID, problem);
  if (!only_pool(&pool, err)) return false;
  *ret = (exports_bulkhead_backend_capacity_available_t){0};
  const capability *ways = request->capabilities.ptr;
  if (refused(ways, request->capabilities.len, class.kind).len != 0) return true;
  bulkhead_backend_pools_pool_info_t info;
  refusal refusal;
  if (!bulkhead_backend_pools_stat_pool(&pool, &info, &refusal)) return fail_as(err, &refusal);
  uint64_t least = smallest(ways, request->capabilities.len, class.kind);
  /* A thin volume may promise more than there is, so its largest size isn't known. */
  bool thick = class.provisioning == BULKHEAD_BACKEND_POOLS_PROVISIONING_THICK;
  ret->available_bytes = info.available_bytes / BLOCK * BLOCK;
  if (thick && ret->available_bytes < least) ret->available_bytes = 0;
  ret->maximum_volume_bytes.is_some = thick;
  ret->maximum_volume_bytes.val = ret->available_bytes;
  ret->minimum_volume_bytes.is_some = true;
  ret->minimum_volume_bytes.val = least;
  return true;
}
