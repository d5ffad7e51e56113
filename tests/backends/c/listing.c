/* All volumes, page by page, and one of them. */
#include "objects.h"

#include <stdlib.h>

/* Most entries of a page. */
#define PAGE 1000

static bulkhead_backend_types_listed_volume_t entry(const place *place, const object *object) {
  bulkhead_backend_types_listed_volume_t listed = {0};
  listed.volume = describe(place, object);
  return listed;
}

bool exports_bulkhead_backend_inspection_get_volume(text *volume_id, bulkhead_backend_types_listed_volume_t *ret,
                                                    failure *err) {
  place place;
  object object;
  if (!find(*volume_id, &place, &object, err)) return false;
  *ret = entry(&place, &object);
  return true;
}

/* The token of a page is the name of the last object on the one before: objects are sorted, so the walk goes on at the right
 * place whatever was made and removed meanwhile, also if that very object is gone. */
bool exports_bulkhead_backend_listing_list_volumes(exports_bulkhead_backend_listing_page_request_t *page,
                                                   exports_bulkhead_backend_listing_volume_page_t *ret, failure *err) {
  if (page->token.is_some && !is_name(page->token.val)) {
    return fail(err, INVALID, T("the page token isn't one of this backend"));
  }
  text pool, prefix = OURS;
  if (!only_pool(&pool, err)) return false;
  size_t most = page->max_entries == 0 || page->max_entries > PAGE ? PAGE : page->max_entries;
  *ret = (exports_bulkhead_backend_listing_volume_page_t){0};
  ret->entries.ptr = malloc(most * sizeof *ret->entries.ptr);
  text *after = page->token.is_some ? &page->token.val : NULL, end = {NULL, 0};
  bulkhead_backend_pools_object_page_t found;
  do {
    refusal refusal;
    if (!bulkhead_backend_pools_list_objects(&pool, &prefix, after, &found, &refusal)) return fail_as(err, &refusal);
    for (size_t i = 0; i < found.objects.len; i++) {
      const object *object = &found.objects.ptr[i];
      text name = object->spec.name;
      /* Of somebody else, who likes our names. */
      if (!is_name(name) || lookup(&object->spec.metadata, CSI_NAME) == NULL) continue;
      /* One more than the page holds tells that there is a next one. */
      if (ret->entries.len == most) {
        ret->next_token.is_some = true;
        ret->next_token.val = JOIN(end);
        return true;
      }
      place place = {pool, name};
      ret->entries.ptr[ret->entries.len++] = entry(&place, object);
      end = name;
    }
    after = &found.next.val;
  } while (found.next.is_some);
  return true;
}
