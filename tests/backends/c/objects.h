/* Volumes as objects of the pool.
 *
 * A volume's id is POOL/vol-KEY, its object vol-KEY. KEY is the 32 hexadecimal digits that the host gives each create request: the same
 * for the same CSI name of the same driver, so a repeated request finds what the first one made. */
#ifndef OBJECTS_H
#define OBJECTS_H

#include "text.h"

typedef bulkhead_backend_pools_object_t object;
typedef bulkhead_backend_types_volume_t volume;

/* What every object of ours is called, up to the key. */
#define OURS T("vol-")
/* Keys of an object's metadata. */
#define CSI_NAME T("csi-name")
#define DIGEST T("request-digest")
/* Key of the volume context and of the parameters. */
#define TYPE T("type")

/* Sizes of objects are multiples of it: the page size of the machines that use them. */
#define BLOCK ((uint64_t)4096)

typedef struct {
  text pool;
  text name;
} place;

/* Whether an object could be called so. */
bool is_name(text name);

/* Where the volume of that id lies; false: it is no id of ours. */
bool parse_id(text id, place *place);

/* The only pool that is granted. With none or several: failed-precondition. */
bool only_pool(text *pool, failure *error);

/* The object at that place as far as it is a volume of ours. Only with FAILED `error` is set. OUT_OF_SIGHT: its pool isn't granted. */
typedef enum { FOUND, MISSING, OUT_OF_SIGHT, FAILED } found;
found look(const place *place, object *object, failure *error);

/* The volume of that id, which must be there. */
bool find(text id, place *place, object *object, failure *error);

/* A volume as its object has it. */
volume describe(const place *place, const object *object);

/* `image` or `directory`. */
text kind_name(bulkhead_backend_pools_object_kind_t kind);

#endif
