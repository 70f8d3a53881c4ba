/* Keypoints from the outputs of @STEM@. Plain C99, no allocation. Written by n6convert; Apache-2.0. */
#ifndef @PREFIX@_POSE_H
#define @PREFIX@_POSE_H

#include "@STEM@.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  float x, y;  /* shares of the input's width and height */
  float score;
} @STEM@_keypoint_t;

/* outputs: the network's output buffers in the order of @STEM@_outputs, channel last. */
void @STEM@_pose(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], @STEM@_keypoint_t found[@PREFIX@_KEYPOINTS]);

#ifdef __cplusplus
}
#endif

#endif
