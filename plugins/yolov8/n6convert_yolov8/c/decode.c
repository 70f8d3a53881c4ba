/* Detections from the outputs of @STEM@. Plain C99, no allocation. Written by n6convert; Apache-2.0. */
#include "@STEM@_decode.h"

#include <math.h>
#include <stdlib.h>

#define STRIDES 3

typedef struct {
  uint32_t stride, rows, columns;
  uint32_t boxes, scores, keypoints, visibility, masks, angles; /* indices into the outputs */
} level_t;

typedef struct {
  const level_t *level;
  uint32_t cell;     /* within the level, row by row */
  float x, y;        /* the cell's center in cells */
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
  const @STEM@_output_t *sides = outputs[place.level->boxes] + place.cell * 4u * @PREFIX@_REG_MAX;
  const float stride = (float)place.level->stride;
  const float left = distance(tensor, sides), top = distance(tensor, sides + @PREFIX@_REG_MAX);
  const float right = distance(tensor, sides + 2 * @PREFIX@_REG_MAX);
  const float bottom = distance(tensor, sides + 3 * @PREFIX@_REG_MAX);
#if @PREFIX@_ORIENTED
  const float raw = real(&@STEM@_outputs[place.level->angles], outputs[place.level->angles][place.cell]);
  const float angle = @PREFIX@_ANGLES_IN_RADIANS ? raw : (probability(raw) - 0.25f) * 3.14159265f;
  const float along = (right - left) / 2.0f, across = (bottom - top) / 2.0f;
  const float x = place.x + along * cosf(angle) - across * sinf(angle);
  const float y = place.y + along * sinf(angle) + across * cosf(angle);
  box->x1 = (x - (left + right) / 2.0f) * stride;
  box->y1 = (y - (top + bottom) / 2.0f) * stride;
  box->x2 = (x + (left + right) / 2.0f) * stride;
  box->y2 = (y + (top + bottom) / 2.0f) * stride;
  box->angle = angle;
#else
  box->x1 = (place.x - left) * stride;
  box->y1 = (place.y - top) * stride;
  box->x2 = (place.x + right) * stride;
  box->y2 = (place.y + bottom) * stride;
#endif
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

#if @PREFIX@_MASKS > 0
static void decode_mask(const @STEM@_output_t *const outputs[], place_t place, @STEM@_detection_t *box)
{
  const n6_tensor_t *tensor = &@STEM@_outputs[place.level->masks];
  const @STEM@_output_t *raw = outputs[place.level->masks] + place.cell * @PREFIX@_MASKS;
  uint32_t k;
  for (k = 0; k < @PREFIX@_MASKS; k++) box->mask[k] = real(tensor, raw[k]);
}
#endif

#if !@PREFIX@_END2END
#if @PREFIX@_ORIENTED
typedef struct {
  float xx, yy, xy, determinant;
} moments_t;

static moments_t moments(const @STEM@_detection_t *b)
{
  const float wide = (b->x2 - b->x1) * (b->x2 - b->x1) / 12.0f, high = (b->y2 - b->y1) * (b->y2 - b->y1) / 12.0f;
  const float c = cosf(b->angle), s = sinf(b->angle);
  moments_t m;
  m.xx = wide * c * c + high * s * s;
  m.yy = wide * s * s + high * c * c;
  m.xy = (wide - high) * c * s;
  m.determinant = wide * high;
  return m;
}

/* ProbIoU: how alike two oriented boxes are, taken as normal distributions; 1 for equal ones. */
static int alike(const @STEM@_detection_t *p, const @STEM@_detection_t *q, float limit)
{
  const float tiny = 1e-7f;
  const moments_t m = moments(p), n = moments(q);
  const float a = m.xx + n.xx, b = m.yy + n.yy, c = m.xy + n.xy;
  const float x = (q->x1 + q->x2 - p->x1 - p->x2) / 2.0f, y = (q->y1 + q->y2 - p->y1 - p->y2) / 2.0f;
  const float determinant = fmaxf(a * b - c * c, 0.0f);
  const float shift = (a * y * y + b * x * x - 2.0f * c * x * y) / (4.0f * (determinant + tiny));
  const float shape = logf(determinant / (4.0f * sqrtf(m.determinant * n.determinant) + tiny) + tiny) / 2.0f;
  const float apart = fminf(fmaxf(shift + shape, tiny), 100.0f);
  return 1.0f - sqrtf(1.0f - expf(-apart) + tiny) > limit;
}
#else
static float area(const @STEM@_detection_t *b)
{
  const float width = b->x2 - b->x1, height = b->y2 - b->y1;
  return (width > 0.0f ? width : 0.0f) * (height > 0.0f ? height : 0.0f);
}

static int alike(const @STEM@_detection_t *p, const @STEM@_detection_t *q, float limit)
{
  const float width = fminf(p->x2, q->x2) - fmaxf(p->x1, q->x1);
  const float height = fminf(p->y2, q->y2) - fmaxf(p->y1, q->y1);
  const float overlap = (width > 0.0f ? width : 0.0f) * (height > 0.0f ? height : 0.0f);
  return overlap > limit * (area(p) + area(q) - overlap);
}
#endif

static int covered(const @STEM@_detection_t *kept, int32_t count, const @STEM@_detection_t *box, float iou)
{
  int32_t i;
  for (i = 0; i < count; i++) if (kept[i].class_id == box->class_id && alike(&kept[i], box, iou)) return 1;
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
#if @PREFIX@_MASKS > 0
    decode_mask(outputs, place, box);
#endif
    count++;
  }
  return count;
}

#if @PREFIX@_ORIENTED
void @STEM@_corners(const @STEM@_detection_t *box, float corners[4][2])
{
  static const float signs[4][2] = {{1.0f, 1.0f}, {-1.0f, 1.0f}, {-1.0f, -1.0f}, {1.0f, -1.0f}};
  const float x = (box->x1 + box->x2) / 2.0f, y = (box->y1 + box->y2) / 2.0f;
  const float c = cosf(box->angle), s = sinf(box->angle);
  int32_t i;
  for (i = 0; i < 4; i++) {
    const float along = signs[i][0] * (box->x2 - box->x1) / 2.0f, across = signs[i][1] * (box->y2 - box->y1) / 2.0f;
    corners[i][0] = x + along * c - across * s;
    corners[i][1] = y + along * s + across * c;
  }
}
#endif

#if @PREFIX@_MASKS > 0
/* Weighted sum of the prototypes at one of their pixels. */
static float prototype_sum(const @STEM@_output_t *prototypes, const float *weights, int32_t row, int32_t column)
{
  const n6_tensor_t *tensor = &@STEM@_outputs[@PREFIX@_PROTOTYPES];
  const @STEM@_output_t *pixel = prototypes + (row * @PREFIX@_PROTOTYPE_COLUMNS + column) * @PREFIX@_MASKS;
  float sum = 0.0f;
  int32_t k;
  for (k = 0; k < @PREFIX@_MASKS; k++) sum += weights[k] * real(tensor, pixel[k]);
  return sum;
}

/* Where a pixel lies between two of the prototypes along one axis: the first of them, and the share of the second. */
static int32_t between(int32_t pixel, int32_t pixels, int32_t prototypes, float *share)
{
  float at = ((float)pixel + 0.5f) * (float)prototypes / (float)pixels - 0.5f;
  int32_t low;
  if (at < 0.0f) at = 0.0f;
  if (at > (float)(prototypes - 1)) at = (float)(prototypes - 1);
  low = (int32_t)at;
  *share = at - (float)low;
  return low;
}

static int32_t bounded(float value, int32_t most)
{
  return value <= 0.0f ? 0 : value >= (float)most ? most : (int32_t)value;
}

void @STEM@_mask(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], const @STEM@_detection_t *box, uint8_t *mask,
                 int32_t rows, int32_t columns)
{
  const @STEM@_output_t *prototypes = outputs[@PREFIX@_PROTOTYPES];
  const float wide = (float)columns / (4.0f * @PREFIX@_PROTOTYPE_COLUMNS);
  const float high = (float)rows / (4.0f * @PREFIX@_PROTOTYPE_ROWS);
  const int32_t x1 = bounded(floorf(box->x1 * wide), columns), x2 = bounded(ceilf(box->x2 * wide), columns);
  const int32_t y1 = bounded(floorf(box->y1 * high), rows), y2 = bounded(ceilf(box->y2 * high), rows);
  int32_t r, c;
  for (r = 0; r < rows * columns; r++) mask[r] = 0;
  for (r = y1; r < y2; r++) {
    float down;
    const int32_t row = between(r, rows, @PREFIX@_PROTOTYPE_ROWS, &down);
    for (c = x1; c < x2; c++) {
      float across, sum;
      const int32_t column = between(c, columns, @PREFIX@_PROTOTYPE_COLUMNS, &across);
      sum = (1.0f - down) * (1.0f - across) * prototype_sum(prototypes, box->mask, row, column);
      if (across > 0.0f) sum += (1.0f - down) * across * prototype_sum(prototypes, box->mask, row, column + 1);
      if (down > 0.0f) sum += down * (1.0f - across) * prototype_sum(prototypes, box->mask, row + 1, column);
      if (down > 0.0f && across > 0.0f)
        sum += down * across * prototype_sum(prototypes, box->mask, row + 1, column + 1);
      mask[r * columns + c] = sum > 0.0f;
    }
  }
}
#endif
