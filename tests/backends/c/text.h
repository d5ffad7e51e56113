/* Text, maps and errors, as wit-bindgen's C has them: a pointer and a length, no NUL at the end.
 *
 * Nothing here is ever given back: an instance lives for one call. What goes into an answer is a copy of its own, though:
 * the generated code frees answers once the host has read them, and each pointer once. */
#ifndef TEXT_H
#define TEXT_H

#include "pool.h"

typedef pool_string_t text;
typedef bulkhead_backend_types_string_map_t string_map;
typedef bulkhead_backend_types_error_t failure;

/* A literal. Not for answers: nobody may free it. */
#define T(literal) ((text){(uint8_t *)(literal), sizeof(literal) - 1})

/* A new text of several; a copy, if it is one. */
#define JOIN(...) join((const text[]){__VA_ARGS__}, sizeof((const text[]){__VA_ARGS__}) / sizeof(text))
text join(const text *parts, size_t count);

/* In decimal digits. */
text number(uint64_t value);

bool equal(text a, text b);
bool starts_with(text whole, text start);

/* The value under a key; NULL: there is none. */
const text *lookup(const string_map *map, text key);

/* Adds a pair to a map that has room for it. */
void add(string_map *map, text key, text value);

/* Fills in an error that has a message and nothing else, a copy of this one. Always false, so that a function can return it. */
bool fail(failure *error, uint8_t kind, text message);

/* `pending`: the host asks again after a second. */
bool fail_pending(failure *error, text message);

/* What a pool says, as an error of a call. Always false. */
typedef bulkhead_backend_pools_pool_error_t refusal;
bool fail_as(failure *error, const refusal *refusal);

#define INVALID BULKHEAD_BACKEND_TYPES_ERROR_INVALID_ARGUMENT
#define NOT_FOUND BULKHEAD_BACKEND_TYPES_ERROR_NOT_FOUND
#define EXISTS BULKHEAD_BACKEND_TYPES_ERROR_ALREADY_EXISTS
#define PRECONDITION BULKHEAD_BACKEND_TYPES_ERROR_FAILED_PRECONDITION
#define EXHAUSTED BULKHEAD_BACKEND_TYPES_ERROR_RESOURCE_EXHAUSTED
#define OUT_OF_RANGE BULKHEAD_BACKEND_TYPES_ERROR_OUT_OF_RANGE
#define DENIED BULKHEAD_BACKEND_TYPES_ERROR_PERMISSION_DENIED
#define UNKNOWN BULKHEAD_BACKEND_TYPES_ERROR_UNKNOWN_OUTCOME
#define INTERNAL BULKHEAD_BACKEND_TYPES_ERROR_INTERNAL

#endif
