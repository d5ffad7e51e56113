#include "class.h"

#define GIB ((uint64_t)1 << 30)
/* Below it mkfs.ext4 leaves no room for a journal. */
#define LEAST_EXT4 ((uint64_t)16 << 20)
/* The WIT's limit for sizes, 2^63 - 1, in whole blocks. */
#define LARGEST ((uint64_t)INT64_MAX / BLOCK * BLOCK)

#define FINE T("")

text read_class(const string_map *parameters, class *class) {
  class->kind = BULKHEAD_BACKEND_POOLS_OBJECT_KIND_IMAGE;
  class->provisioning = BULKHEAD_BACKEND_POOLS_PROVISIONING_THIN;
  for (size_t i = 0; i < parameters->len; i++) {
    text key = parameters->ptr[i].f0, value = parameters->ptr[i].f1;
    /* The CO's own: names of the claim and the like. */
    if (starts_with(key, T("csi.storage.k8s.io/"))) continue;
    if (equal(key, TYPE)) {
      if (equal(value, T("directory"))) {
        class->kind = BULKHEAD_BACKEND_POOLS_OBJECT_KIND_DIRECTORY;
      } else if (!equal(value, T("image"))) {
        return T("parameter `type` must be one of `image`, `directory`");
      }
    } else if (equal(key, T("provisioning"))) {
      if (equal(value, T("thick"))) {
        class->provisioning = BULKHEAD_BACKEND_POOLS_PROVISIONING_THICK;
      } else if (!equal(value, T("thin"))) {
        return T("parameter `provisioning` must be one of `thin`, `thick`");
      }
    } else {
      return JOIN(T("unknown parameter `"), key, T("`; known are `type`, `provisioning`"));
    }
  }
  return FINE;
}

static bool on_one_node(bulkhead_backend_types_access_mode_t mode) {
  switch (mode) {
    case BULKHEAD_BACKEND_TYPES_ACCESS_MODE_SINGLE_NODE_WRITER:
    case BULKHEAD_BACKEND_TYPES_ACCESS_MODE_SINGLE_NODE_READER_ONLY:
    case BULKHEAD_BACKEND_TYPES_ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER:
    case BULKHEAD_BACKEND_TYPES_ACCESS_MODE_SINGLE_NODE_MULTI_WRITER:
      return true;
    default:
      return false;
  }
}

static bool is_block(const capability *capability) {
  return capability->access_type.tag == BULKHEAD_BACKEND_TYPES_ACCESS_TYPE_BLOCK;
}

text refused(const capability *capabilities, size_t count, bulkhead_backend_pools_object_kind_t kind) {
  bool image = kind == BULKHEAD_BACKEND_POOLS_OBJECT_KIND_IMAGE;
  for (size_t i = 0; i < count; i++) {
    if (!on_one_node(capabilities[i].access_mode)) return T("a pool's volume can be reached from one node only");
    if (is_block(&capabilities[i])) {
      if (!image) return T("a directory can't be a block device: use `type: image`");
      continue;
    }
    text fs_type = capabilities[i].access_type.val.mount.fs_type;
    /* A directory has the pool's own, but a name that means nothing isn't ignored in silence. */
    if (fs_type.len != 0 && !equal(fs_type, T("ext4"))) return T("the only file system is ext4");
  }
  return FINE;
}

uint64_t smallest(const capability *capabilities, size_t count, bulkhead_backend_pools_object_kind_t kind) {
  if (kind == BULKHEAD_BACKEND_POOLS_OBJECT_KIND_DIRECTORY) return BLOCK;
  for (size_t i = 0; i < count; i++) {
    if (!is_block(&capabilities[i])) return LEAST_EXT4;
  }
  return BLOCK;
}

bool choose_size(const capacity_range *range, uint64_t least, uint64_t *bytes, failure *error) {
  uint64_t limit = LARGEST, wanted = GIB;
  if (range != NULL && range->limit.is_some && range->limit.val < limit) limit = range->limit.val;
  if (limit / BLOCK * BLOCK < wanted) wanted = limit / BLOCK * BLOCK;
  if (range != NULL && range->required.is_some) wanted = range->required.val;
  if (wanted < least) wanted = least;
  if (wanted <= LARGEST) {
    *bytes = (wanted + BLOCK - 1) / BLOCK * BLOCK;
    if (*bytes <= limit) return true;
  }
  text message = JOIN(T("no size of at least "), number(wanted), T(" and at most "), number(limit),
                      T(" bytes: sizes are multiples of 4096"));
  return fail(error, OUT_OF_RANGE, message);
}
