/* What this backend is, and whether it could work. */
#include "objects.h"

#include <stdlib.h>

bool exports_bulkhead_backend_identity_get_info(exports_bulkhead_backend_identity_info_t *ret, failure *err) {
  pool_list_string_t keys;
  bulkhead_backend_config_keys(&keys);
  if (keys.len != 0) return fail(err, PRECONDITION, JOIN(T("this backend has no config, and `"), keys.ptr[0], T("` is set")));
  *ret = (exports_bulkhead_backend_identity_info_t){0};
  ret->vendor_version = JOIN(T("0.1.0"));
  ret->promises = EXPORTS_BULKHEAD_BACKEND_IDENTITY_PROMISES_SINGLE_NODE_MULTI_WRITER |
                  EXPORTS_BULKHEAD_BACKEND_IDENTITY_PROMISES_EXPAND_ONLINE;
  const text loggable[] = {TYPE, T("provisioning")};
  size_t count = sizeof loggable / sizeof *loggable;
  ret->loggable_parameters.ptr = malloc(sizeof loggable);
  for (size_t i = 0; i < count; i++) ret->loggable_parameters.ptr[i] = JOIN(loggable[i]);
  ret->loggable_parameters.len = count;
  return true;
}

bool exports_bulkhead_backend_identity_probe(bool *ret, failure *err) {
  text pool;
  bulkhead_backend_pools_pool_info_t info;
  refusal refusal;
  if (!only_pool(&pool, err)) return false;
  if (!bulkhead_backend_pools_stat_pool(&pool, &info, &refusal)) return fail_as(err, &refusal);
  *ret = true;
  return true;
}
