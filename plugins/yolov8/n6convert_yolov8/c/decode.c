/* Boxes (and keypoints) from the outputs of @STEM@. Plain C99, no allocation. Written by n6convert; Apache-2.0. */
#include "@STEM@_decode.h"

#include <math.h>
#include <stdlib.h>

#define STRIDES 3

typedef struct {
  uint32_t stride, rows, columns;
  uint32_t boxes, scores, keypoints, visibility; /* indices into the outputs */
} level_t;

typedef struct {
  const level_t *level;
  uint32_t cell;     /* within the level, row by row */
  float x, y;        /* the cell's centre in cells */
} place_t;

static const level_t levels[STRIDES] = {
@LEVELS@
};

static float real(const n6_tensor_t *tensor, @STEM@_output_t q)
{
  return tensor->scale * ((float)q - (float)tensor->zero_point);
}

static float probability(float logit)
{
  return 1.0f / (1.0f + expf(-logit));
}

static place_t locate(uint32_t anchor)
{
  place_t place;
  const level_t *level = levels;
  while (anchor >= level->rows * level->columns) {
    anchor -= level->rows * level->columns;
    level++;
  }
  place.level = level;
  place.cell = anchor;
  place.x = (float)(anchor % level->columns) + 0.5f;
  place.y = (float)(anchor / level->columns) + 0.5f;
  return place;
}

#if !@PREFIX@_OUTPUT_IS_FLOAT
/* Least score of one level that reaches the confidence: exponentials are then needed for survivors only. */
static int32_t least_score(const n6_tensor_t *tensor, float confidence)
{
  int32_t q = @PREFIX@_OUTPUT_LOWEST;
  while (q <= @PREFIX@_OUTPUT_HIGHEST && probability(real(tensor, (@STEM@_output_t)q)) < confidence) q++;
  return q;
}
#endif

static uint32_t gather(const @STEM@_output_t *const outputs[], float confidence, @STEM@_candidate_t *candidates)
{
  uint32_t count = 0, base = 0, l, cell, c;
  for (l = 0; l < STRIDES; l++) {
    const n6_tensor_t *tensor = &@STEM@_outputs[levels[l].scores];
    const @STEM@_output_t *scores = outputs[levels[l].scores];
    const uint32_t cells = levels[l].rows * levels[l].columns;
#if !@PREFIX@_OUTPUT_IS_FLOAT
    const int32_t least = least_score(tensor, confidence);
#endif
    for (cell = 0; cell < cells; cell++, scores += @PREFIX@_CLASSES) {
      uint32_t best = 0;
      for (c = 1; c < @PREFIX@_CLASSES; c++) if (scores[c] > scores[best]) best = c;
#if @PREFIX@_OUTPUT_IS_FLOAT
      if (probability(scores[best]) < confidence) continue;
#else
      if (scores[best] < least) continue;
#endif
      candidates[count].score = probability(real(tensor, scores[best]));
      candidates[count].anchor = base + cell;
      candidates[count++].class_id = (int32_t)best;
    }
    base += cells;
  }
  return count;
}

static int better(const void *left, const void *right)
{
  const @STEM@_candidate_t *a = (const @STEM@_candidate_t *)left, *b = (const @STEM@_candidate_t *)right;
  if (a->score != b->score) return a->score > b->score ? -1 : 1;
  return a->anchor < b->anchor ? -1 : 1;
}

/* Distance of one side in cells: as it is, or the mean of the distribution its logits describe. */
static float distance(const n6_tensor_t *tensor, const @STEM@_output_t *logits)
{
#if @PREFIX@_REG_MAX == 1
  return real(tensor, logits[0]);
#else
  float sum = 0.0f, mean = 0.0f;
  @STEM@_output_t highest = logits[0];
  int32_t i;
  for (i = 1; i < @PREFIX@_REG_MAX; i++) if (logits[i] > highest) highest = logits[i];
  for (i = 0; i < @PREFIX@_REG_MAX; i++) {
    const float e = expf(tensor->scale * ((float)logits[i] - (float)highest));
    sum += e;
    mean += e * (float)i;
  }
  return mean / sum;
#endif
}

static void decode_box(const @STEM@_output_t *const outputs[], place_t place, @STEM@_detection_t *box)
{
  const n6_tensor_t *tensor = &@STEM@_outputs[place.level->boxes];
  const @STEM@_output_t *logits = outputs[place.level->boxes] + place.cell * 4u * @PREFIX@_REG_MAX;
  const float stride = (float)place.level->stride;
  box->x1 = (place.x - distance(tensor, logits)) * stride;
  box->y1 = (place.y - distance(tensor, logits + @PREFIX@_REG_MAX)) * stride;
  box->x2 = (place.x + distance(tensor, logits + 2 * @PREFIX@_REG_MAX)) * stride;
  box->y2 = (place.y + distance(tensor, logits + 3 * @PREFIX@_REG_MAX)) * stride;
}

#if @PREFIX@_KEYPOINTS > 0
static void decode_keypoints(const @STEM@_output_t *const outputs[], place_t place, @STEM@_detection_t *box)
{
  const n6_tensor_t *tensor = &@STEM@_outputs[place.level->keypoints];
  const @STEM@_output_t *raw = outputs[place.level->keypoints] + place.cell * @PREFIX@_KEYPOINTS * 2u;
#if @PREFIX@_KEYPOINT_VALUES == 3
  const n6_tensor_t *visibility = &@STEM@_outputs[place.level->visibility];
  const @STEM@_output_t *seen = outputs[place.level->visibility] + place.cell * @PREFIX@_KEYPOINTS;
#endif
  const float stride = (float)place.level->stride;
  uint32_t k;
  for (k = 0; k < @PREFIX@_KEYPOINTS; k++, raw += 2) {
    box->keypoints[k][0] = (real(tensor, raw[0]) * 2.0f + place.x - 0.5f) * stride;
    box->keypoints[k][1] = (real(tensor, raw[1]) * 2.0f + place.y - 0.5f) * stride;
#if @PREFIX@_KEYPOINT_VALUES == 3
    box->keypoints[k][2] = probability(real(visibility, seen[k]));
#else
    box->keypoints[k][2] = 1.0f;
#endif
  }
}
#endif

#if !@PREFIX@_END2END
static float area(const @STEM@_detection_t *b)
{
  const float width = b->x2 - b->x1, height = b->y2 - b->y1;
  return (width > 0.0f ? width : 0.0f) * (height > 0.0f ? height : 0.0f);
}

static int covered(const @STEM@_detection_t *kept, int32_t count, const @STEM@_detection_t *box, float iou)
{
  int32_t i;
  for (i = 0; i < count; i++) {
    const float width = fminf(kept[i].x2, box->x2) - fmaxf(kept[i].x1, box->x1);
    const float height = fminf(kept[i].y2, box->y2) - fmaxf(kept[i].y1, box->y1);
    const float overlap = (width > 0.0f ? width : 0.0f) * (height > 0.0f ? height : 0.0f);
    if (kept[i].class_id == box->class_id && overlap > iou * (area(&kept[i]) + area(box) - overlap)) return 1;
  }
  return 0;
}
#endif

int32_t @STEM@_decode(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], float confidence, float iou,
                      @STEM@_candidate_t *scratch, @STEM@_detection_t *found, int32_t capacity)
{
  const uint32_t candidates = gather(outputs, confidence, scratch);
  int32_t count = 0;
  uint32_t i;
  (void)iou; /* a head trained end to end finds each object once */
  qsort(scratch, candidates, sizeof *scratch, better);
  for (i = 0; i < candidates && count < capacity; i++) {
    const place_t place = locate(scratch[i].anchor);
    @STEM@_detection_t *box = &found[count];
    box->score = scratch[i].score;
    box->class_id = scratch[i].class_id;
    decode_box(outputs, place, box);
#if !@PREFIX@_END2END
    if (covered(found, count, box, iou)) continue;
#endif
#if @PREFIX@_KEYPOINTS > 0
    decode_keypoints(outputs, place, box);
#endif
    count++;
  }
  return count;
}
