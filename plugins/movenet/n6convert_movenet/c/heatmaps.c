/* Keypoints at the center of mass around the highest cell of every heat map. Written by n6convert; Apache-2.0. */
#include "@STEM@_pose.h"

#define ROWS @PREFIX@_MAP_ROWS
#define COLUMNS @PREFIX@_MAP_COLUMNS
#define REACH 2

/* Sums of the values above zero around a cell: all, times the column, times the row (both from the cell). */
static void moments(const @STEM@_output_t *map, float zero, int32_t row, int32_t column, float sums[3])
{
  int32_t down, right;
  sums[0] = sums[1] = sums[2] = 0.0f;
  for (down = -REACH; down <= REACH; down++)
    for (right = -REACH; right <= REACH; right++) {
      const int32_t r = row + down, c = column + right;
      float value;
      if (r < 0 || r >= ROWS || c < 0 || c >= COLUMNS) continue;
      value = (float)map[(r * COLUMNS + c) * @PREFIX@_KEYPOINTS] - zero;
      if (value <= 0.0f) continue;
      sums[0] += value;
      sums[1] += value * (float)right;
      sums[2] += value * (float)down;
    }
}

void @STEM@_pose(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], @STEM@_keypoint_t found[@PREFIX@_KEYPOINTS])
{
  const n6_tensor_t *tensor = &@STEM@_outputs[@PREFIX@_HEATMAPS];
  const @STEM@_output_t *maps = outputs[@PREFIX@_HEATMAPS];
  int32_t k, cell;
  float sums[3];
  for (k = 0; k < @PREFIX@_KEYPOINTS; k++) {
    int32_t best = 0;
    float mass;
    for (cell = 1; cell < ROWS * COLUMNS; cell++)
      if (maps[cell * @PREFIX@_KEYPOINTS + k] > maps[best * @PREFIX@_KEYPOINTS + k]) best = cell;
    moments(maps + k, (float)tensor->zero_point, best / COLUMNS, best % COLUMNS, sums);
    mass = sums[0] > 0.0f ? sums[0] : 1.0f;
    found[k].x = ((float)(best % COLUMNS) + 0.5f + sums[1] / mass) / COLUMNS;
    found[k].y = ((float)(best / COLUMNS) + 0.5f + sums[2] / mass) / ROWS;
    found[k].score = tensor->scale * ((float)maps[best * @PREFIX@_KEYPOINTS + k] - (float)tensor->zero_point);
  }
}
