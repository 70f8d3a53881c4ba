#include "embedding_lookup.h"

#include <math.h>

static int8_t quantized(float value, float scale, int zero_point) {
  float q = rintf(value / scale) + (float)zero_point;
  if (q > 127.0f) {
    q = 127.0f;
  }
  return (int8_t)(q < -128.0f ? -128.0f : q);
}

static float word(const n6_embedding_tables_t *tables, int32_t token, int column) {
  float value = (float)tables->words[(int64_t)token * N6_EMBEDDING_WIDTH + column];
#if N6_EMBEDDING_INT8
  value *= tables->scales[token];
#endif
  return value;
}

static void embed_one(const n6_embedding_tables_t *tables, int32_t token, const float *position, float scale,
                      int zero_point, int8_t *out) {
  float x[N6_EMBEDDING_WIDTH];
  const float *gamma = tables->norm, *beta = tables->norm + N6_EMBEDDING_WIDTH;
  double mean = 0.0, variance = 0.0, factor;
  int i;
  for (i = 0; i < N6_EMBEDDING_WIDTH; i++) {
    x[i] = word(tables, token, i) + position[i];
    mean += x[i];
  }
  mean /= N6_EMBEDDING_WIDTH;
  for (i = 0; i < N6_EMBEDDING_WIDTH; i++) {
    variance += (x[i] - mean) * (x[i] - mean);
  }
  factor = 1.0 / sqrt(variance / N6_EMBEDDING_WIDTH + N6_EMBEDDING_EPSILON);
  for (i = 0; i < N6_EMBEDDING_WIDTH; i++) {
    out[i] = quantized((float)((x[i] - mean) * factor * gamma[i] + beta[i]), scale, zero_point);
  }
}

int n6_embed(const n6_embedding_tables_t *tables, const int32_t *tokens, int count, float scale, int zero_point,
             int8_t *embedded) {
  int i;
  if (count < 0 || count > N6_EMBEDDING_SEQUENCE) {
    return -1;
  }
  for (i = 0; i < N6_EMBEDDING_SEQUENCE; i++) {
    int32_t token = i < count ? tokens[i] : N6_EMBEDDING_PADDING;
    if (token < 0 || token >= N6_EMBEDDING_VOCABULARY) {
      return -1;
    }
    embed_one(tables, token, tables->positions + (int64_t)i * N6_EMBEDDING_WIDTH, scale, zero_point,
              embedded + (int64_t)i * N6_EMBEDDING_WIDTH);
  }
  return 0;
}

int n6_mask(int count, float scale, int zero_point, int8_t *mask) {
  int i;
  if (count < 0 || count > N6_EMBEDDING_SEQUENCE) {
    return -1;
  }
  for (i = 0; i < N6_EMBEDDING_SEQUENCE; i++) {
    mask[i] = quantized(i < count ? 0.0f : N6_EMBEDDING_MASK, scale, zero_point);
  }
  return 0;
}
