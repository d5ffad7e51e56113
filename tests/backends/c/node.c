/* How a volume reaches a node: from its id and context alone. Pools are closed on a node. */
#include "class.h"

typedef bulkhead_backend_plan_types_filesystem_t filesystem;

bool exports_bulkhead_backend_node_get_node_info(exports_bulkhead_backend_node_node_facts_t *facts,
                                                 exports_bulkhead_backend_node_node_info_t *ret, failure *err) {
  (void)facts;
  (void)err;
  *ret = (exports_bulkhead_backend_node_node_info_t){0};
  return true;
}

static filesystem ext4(bool read_only) {
  filesystem filesystem = {0};
  filesystem.fs_type = JOIN(T("ext4"));
  /* What is only read must have been written before. */
  filesystem.format = read_only ? BULKHEAD_BACKEND_PLAN_TYPES_FORMAT_POLICY_NEVER
                                : BULKHEAD_BACKEND_PLAN_TYPES_FORMAT_POLICY_IF_EMPTY;
  filesystem.fsck = BULKHEAD_BACKEND_PLAN_TYPES_FSCK_POLICY_PREEN;
  filesystem.grow = !read_only;
  filesystem.read_only = read_only;
  return filesystem;
}

bool exports_bulkhead_backend_node_plan_volume(exports_bulkhead_backend_node_plan_request_t *request,
                                               exports_bulkhead_backend_node_plan_t *ret, failure *err) {
  place place;
  if (!parse_id(request->volume_id, &place)) return fail(err, NOT_FOUND, JOIN(T("volume "), request->volume_id));
  const text *type = lookup(&request->context, TYPE);
  class class;
  if (type == NULL || read_class(&request->context, &class).len != 0) {
    return fail(err, INVALID, T("the volume context isn't one of this backend"));
  }
  const capability *capability = &request->capability;
  text problem = refused(capability, 1, class.kind);
  if (problem.len != 0) return fail(err, PRECONDITION, problem);

  bool read_only = capability->access_mode == BULKHEAD_BACKEND_TYPES_ACCESS_MODE_SINGLE_NODE_READER_ONLY;
  *ret = (exports_bulkhead_backend_node_plan_t){0};
  bulkhead_backend_plan_types_pool_object_t object = {JOIN(place.pool), JOIN(place.name)};
  if (class.kind == BULKHEAD_BACKEND_POOLS_OBJECT_KIND_IMAGE) {
    ret->access.tag = BULKHEAD_BACKEND_PLAN_TYPES_ACCESS_POOL_IMAGE;
    ret->access.val.pool_image = object;
  } else {
    ret->access.tag = BULKHEAD_BACKEND_PLAN_TYPES_ACCESS_POOL_DIRECTORY;
    ret->access.val.pool_directory = object;
  }
  if (capability->access_type.tag == BULKHEAD_BACKEND_TYPES_ACCESS_TYPE_BLOCK) {
    ret->usage.tag = BULKHEAD_BACKEND_PLAN_TYPES_USAGE_BLOCK;
    ret->usage.val.block.read_only = read_only;
  } else if (class.kind == BULKHEAD_BACKEND_POOLS_OBJECT_KIND_DIRECTORY) {
    ret->usage.tag = BULKHEAD_BACKEND_PLAN_TYPES_USAGE_DIRECTORY;
    ret->usage.val.directory.read_only = read_only;
  } else {
    ret->usage.tag = BULKHEAD_BACKEND_PLAN_TYPES_USAGE_FILESYSTEM;
    ret->usage.val.filesystem = ext4(read_only);
  }
  return true;
}
