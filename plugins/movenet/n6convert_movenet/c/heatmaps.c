/* Keypoints of the highest cell of every heat map, at the cell's middle. Written by n6convert; Apache-2.0. */
#include "@STEM@_pose.h"

#define ROWS @PREFIX@_MAP_ROWS
#define COLUMNS @PREFIX@_MAP_COLUMNS

void @STEM@_pose(const int8_t *const outputs[@PREFIX@_OUTPUTS], @STEM@_keypoint_t found[@PREFIX@_KEYPOINTS])
{
  const n6_tensor_t *tensor = &@STEM@_outputs[@PREFIX@_HEATMAPS];
  const int8_t *maps = outputs[@PREFIX@_HEATMAPS];
  uint32_t k, cell;
  for (k = 0; k < @PREFIX@_KEYPOINTS; k++) {
    uint32_t best = 0;
    for (cell = 1; cell < ROWS * COLUMNS; cell++)
      if (maps[cell * @PREFIX@_KEYPOINTS + k] > maps[best * @PREFIX@_KEYPOINTS + k]) best = cell;
    found[k].x = ((float)(best % COLUMNS) + 0.5f) / COLUMNS;
    found[k].y = ((float)(best / COLUMNS) + 0.5f) / ROWS;
    found[k].score = tensor->scale * (float)(maps[best * @PREFIX@_KEYPOINTS + k] - tensor->zero_point);
  }
}
