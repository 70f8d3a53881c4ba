/* Boxes (and keypoints) from the outputs of @STEM@. Plain C99, no allocation. Written by n6convert; Apache-2.0. */
#ifndef @PREFIX@_DECODE_H
#define @PREFIX@_DECODE_H

#include "@STEM@.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  float x1, y1, x2, y2; /* pixels of the network's input */
  float score;          /* probability */
  int32_t class_id;
#if @PREFIX@_KEYPOINTS > 0
  float keypoints[@PREFIX@_KEYPOINTS][3]; /* x, y in pixels of the input, probability of being visible */
#endif
} @STEM@_detection_t;

typedef struct {
  float score;
  uint32_t anchor;
  int32_t class_id;
} @STEM@_candidate_t;

/* Decode and suppress.
   outputs:    the network's output buffers in the order of @STEM@_outputs, channel last.
   confidence: least probability of a detection, above 0 and below 1.
   iou:        overlap above which the weaker of two boxes of one class goes; not used where @PREFIX@_END2END is 1.
   scratch:    @PREFIX@_ANCHORS candidates, contents are lost.
   found:      room for `capacity` detections; the best come first.
   Returns the number of detections. */
int32_t @STEM@_decode(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], float confidence, float iou,
                      @STEM@_candidate_t *scratch, @STEM@_detection_t *found, int32_t capacity);

#ifdef __cplusplus
}
#endif

#endif
