/* What a volume is asked to be: parameters, ways of use, sizes. */
#ifndef CLASS_H
#define CLASS_H

#include "objects.h"

typedef bulkhead_backend_types_volume_capability_t capability;
typedef bulkhead_backend_types_capacity_range_t capacity_range;

/* Parameters of a StorageClass. */
typedef struct {
  /* `type: image | directory`, image if it isn't given. */
  bulkhead_backend_pools_object_kind_t kind;
  /* `provisioning: thin | thick`, thin if it isn't given. */
  bulkhead_backend_pools_provisioning_t provisioning;
} class;

/* Reads parameters. What it returns is why they can't be used; empty: they can. It names keys, never values. */
text read_class(const string_map *parameters, class *class);

/* Why an object of that kind can't be used in these ways; empty: it can. */
text refused(const capability *capabilities, size_t count, bulkhead_backend_pools_object_kind_t kind);

/* Smallest object of that kind that can be used in these ways, bytes. */
uint64_t smallest(const capability *capabilities, size_t count, bulkhead_backend_pools_object_kind_t kind);

/* The least size, in whole blocks, that the range allows and that isn't below `least`. Without a required size it is 1 GiB, or what the
 * limit leaves of it. None: out-of-range. `range` may be NULL. */
bool choose_size(const capacity_range *range, uint64_t least, uint64_t *bytes, failure *error);

#endif
