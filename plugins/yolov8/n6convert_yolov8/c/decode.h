/* Detections from the outputs of @STEM@. Plain C99, no allocation. Written by n6convert; Apache-2.0. */
#ifndef @PREFIX@_DECODE_H
#define @PREFIX@_DECODE_H

#include "@STEM@.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
#if @PREFIX@_ORIENTED
  float x1, y1, x2, y2; /* pixels of the network's input, before the box is turned about its center */
  float angle;          /* radians, from x towards y */
#else
  float x1, y1, x2, y2; /* pixels of the network's input */
#endif
  float score;          /* probability */
  int32_t class_id;
#if @PREFIX@_KEYPOINTS > 0
  float keypoints[@PREFIX@_KEYPOINTS][3]; /* x, y in pixels of the input, probability of being visible */
#endif
#if @PREFIX@_MASKS > 0
  float mask[@PREFIX@_MASKS]; /* shares of the prototypes, for @STEM@_mask */
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
   iou:        overlap (of oriented boxes: likeness) above which the weaker of two boxes of one class goes;
               not used where @PREFIX@_END2END is 1.
   scratch:    @PREFIX@_ANCHORS candidates, contents are lost.
   found:      room for `capacity` detections; the best come first.
   Returns the number of detections. */
int32_t @STEM@_decode(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], float confidence, float iou,
                      @STEM@_candidate_t *scratch, @STEM@_detection_t *found, int32_t capacity);
#if @PREFIX@_ORIENTED

/* Corners x, y of an oriented box in order around it. */
void @STEM@_corners(const @STEM@_detection_t *box, float corners[4][2]);
#endif
#if @PREFIX@_MASKS > 0

/* The mask of one detection, 1 inside and 0 outside, over the whole input in `rows` times `columns` pixels.
   Each pixel inside the box costs @PREFIX@_MASKS products at the prototypes' own size (a quarter of the input's), four
   times as many at others. */
void @STEM@_mask(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], const @STEM@_detection_t *box, uint8_t *mask,
                 int32_t rows, int32_t columns);
#endif

#ifdef __cplusplus
}
#endif

#endif
