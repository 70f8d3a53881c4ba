/* Classes from the output of @STEM@. Plain C99, no allocation. Written by n6convert; Apache-2.0. */
#ifndef @PREFIX@_CLASSIFY_H
#define @PREFIX@_CLASSIFY_H

#include "@STEM@.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t class_id;
  float probability;
} @STEM@_class_t;

/* The most probable classes, best first; of equal ones the lower number comes first.
   outputs: the network's output buffers.
   best:    room for `count` classes.
   Returns how many were written: `count`, or @PREFIX@_CLASSES where that is less. */
int32_t @STEM@_classify(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], @STEM@_class_t *best, int32_t count);

#ifdef __cplusplus
}
#endif

#endif
