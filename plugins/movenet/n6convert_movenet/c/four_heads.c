/* Keypoints of the most central person from MoveNet's four heads. Written by n6convert; Apache-2.0. */
#include "@STEM@_pose.h"

#include <math.h>

#define ROWS @PREFIX@_MAP_ROWS
#define COLUMNS @PREFIX@_MAP_COLUMNS
#define KEYPOINTS @PREFIX@_KEYPOINTS
#define SOFTENING 1.8 /* added to distances before dividing by them, in cells */

static double real(uint32_t head, @STEM@_output_t q)
{
  const n6_tensor_t *tensor = &@STEM@_outputs[head];
  return (double)(tensor->scale * ((float)q - (float)tensor->zero_point));
}

/* Cell with the highest value of one channel after dividing by the distance from a place. */
static uint32_t nearest(uint32_t head, const @STEM@_output_t *map, uint32_t channels, double row, double column)
{
  uint32_t cell, best = 0;
  double most = -INFINITY;
  for (cell = 0; cell < ROWS * COLUMNS; cell++) {
    const double far = hypot((double)(cell / COLUMNS) - row, (double)(cell % COLUMNS) - column);
    const double value = real(head, map[cell * channels]) / (far + SOFTENING);
    if (value > most) {
      most = value;
      best = cell;
    }
  }
  return best;
}

void @STEM@_pose(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], @STEM@_keypoint_t found[@PREFIX@_KEYPOINTS])
{
  const uint32_t center = nearest(@PREFIX@_CENTER, outputs[@PREFIX@_CENTER], 1u, ROWS / 2.0, COLUMNS / 2.0);
  const @STEM@_output_t *regression = outputs[@PREFIX@_REGRESSION] + center * 2u * KEYPOINTS;
  uint32_t k;
  for (k = 0; k < KEYPOINTS; k++) {
    const double row = real(@PREFIX@_REGRESSION, regression[2u * k]) + (double)(center / COLUMNS);
    const double column = real(@PREFIX@_REGRESSION, regression[2u * k + 1u]) + (double)(center % COLUMNS);
    const @STEM@_output_t *map = outputs[@PREFIX@_HEATMAPS] + k;
    const uint32_t best = nearest(@PREFIX@_HEATMAPS, map, KEYPOINTS, row, column);
    const @STEM@_output_t *offset = outputs[@PREFIX@_OFFSETS] + best * 2u * KEYPOINTS + 2u * k;
    found[k].x = (float)(((double)(best % COLUMNS) + real(@PREFIX@_OFFSETS, offset[1])) / COLUMNS);
    found[k].y = (float)(((double)(best / COLUMNS) + real(@PREFIX@_OFFSETS, offset[0])) / ROWS);
    found[k].score = (float)real(@PREFIX@_HEATMAPS, map[best * KEYPOINTS]);
  }
}
