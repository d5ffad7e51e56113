#include "text.h"

#include <stdlib.h>
#include <string.h>

/* The linker puts these in the place of malloc and realloc (--wrap), for the generated code too: that doesn't look whether
 * it got memory, and address 0 can be written to in Wasm. Without memory the call ends here. */
void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size) {
  void *memory = __real_malloc(size);
  if (memory == NULL) __builtin_trap();
  return memory;
}

void *__wrap_realloc(void *old, size_t size) {
  void *memory = __real_realloc(old, size);
  if (memory == NULL) __builtin_trap();
  return memory;
}

text join(const text *parts, size_t count) {
  text whole = {NULL, 0};
  for (size_t i = 0; i < count; i++) whole.len += parts[i].len;
  whole.ptr = malloc(whole.len);
  size_t at = 0;
  for (size_t i = 0; i < count; i++) {
    if (parts[i].len != 0) memcpy(whole.ptr + at, parts[i].ptr, parts[i].len);
    at += parts[i].len;
  }
  return whole;
}

text number(uint64_t value) {
  uint8_t digits[20];
  size_t first = sizeof digits;
  do {
    digits[--first] = (uint8_t)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return JOIN((text){digits + first, sizeof digits - first});
}

bool equal(text a, text b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }

bool starts_with(text whole, text start) {
  return whole.len >= start.len && equal((text){whole.ptr, start.len}, start);
}

const text *lookup(const string_map *map, text key) {
  for (size_t i = 0; i < map->len; i++) {
    if (equal(map->ptr[i].f0, key)) return &map->ptr[i].f1;
  }
  return NULL;
}

void add(string_map *map, text key, text value) {
  map->ptr[map->len].f0 = JOIN(key);
  map->ptr[map->len].f1 = JOIN(value);
  map->len++;
}

bool fail(failure *error, uint8_t kind, text message) {
  error->tag = kind;
  /* All cases with a message alone keep it in the same place. */
  error->val.internal = JOIN(message);
  return false;
}

bool fail_pending(failure *error, text message) {
  error->tag = BULKHEAD_BACKEND_TYPES_ERROR_PENDING;
  error->val.pending.message = JOIN(message);
  error->val.pending.retry_after_ms.is_some = true;
  error->val.pending.retry_after_ms.val = 1000;
  error->val.pending.resume.is_some = false;
  return false;
}

bool fail_as(failure *error, const refusal *refusal) {
  switch (refusal->tag) {
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_NO_SUCH_POOL:
      return fail(error, NOT_FOUND, T("the pool isn't granted to this backend"));
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_NO_SUCH_OBJECT:
      return fail(error, NOT_FOUND, refusal->val.no_such_object);
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_TAKEN:
      return fail(error, EXISTS, refusal->val.taken);
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_CONFLICT:
      return fail_pending(error, T("another call changed the same object"));
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_IN_USE:
      return fail(error, PRECONDITION, refusal->val.in_use);
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_BUSY:
      return fail_pending(error, refusal->val.busy);
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_NO_SPACE:
      return fail(error, EXHAUSTED, refusal->val.no_space);
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_TOO_LARGE:
      return fail(error, OUT_OF_RANGE, refusal->val.too_large);
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_DENIED:
      return fail(error, DENIED, T("the host's pools are closed to this call"));
    case BULKHEAD_BACKEND_POOLS_POOL_ERROR_INVALID:
      return fail(error, INVALID, refusal->val.invalid);
    default:
      return fail(error, UNKNOWN, refusal->val.unavailable);
  }
}
