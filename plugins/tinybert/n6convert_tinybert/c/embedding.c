/* Tokens to the inputs of @STEM@. Plain C99, no allocation. Written by n6convert; Apache-2.0. */
#include "@STEM@_embedding.h"

#include <math.h>

static @STEM@_input_t quantized(float value, float scale, int zero_point) {
#if @PREFIX@_INPUT_IS_FLOAT
  (void)scale;
  (void)zero_point;
  return value;
#else
  const float lowest = (float)@PREFIX@_INPUT_LOWEST, highest = (float)@PREFIX@_INPUT_HIGHEST;
  float q = rintf(value / scale) + (float)zero_point;
  if (q > highest) {
    q = highest;
  }
  return (@STEM@_input_t)(q < lowest ? lowest : q);
#endif
}

static float word(const @STEM@_tables_t *tables, int32_t token, int column) {
  float value = (float)tables->words[(int64_t)token * @PREFIX@_EMBEDDING_WIDTH + column];
#if @PREFIX@_EMBEDDING_INT8
  value *= tables->scales[token];
#endif
  return value;
}

static void embed_one(const @STEM@_tables_t *tables, int32_t token, const float *position, float scale,
                      int zero_point, @STEM@_input_t *out) {
  float x[@PREFIX@_EMBEDDING_WIDTH];
  const float *gamma = tables->norm, *beta = tables->norm + @PREFIX@_EMBEDDING_WIDTH;
  double mean = 0.0, variance = 0.0, factor;
  int i;
  for (i = 0; i < @PREFIX@_EMBEDDING_WIDTH; i++) {
    x[i] = word(tables, token, i) + position[i];
    mean += (double)x[i];
  }
  mean /= @PREFIX@_EMBEDDING_WIDTH;
  for (i = 0; i < @PREFIX@_EMBEDDING_WIDTH; i++) {
    variance += ((double)x[i] - mean) * ((double)x[i] - mean);
  }
  factor = 1.0 / sqrt(variance / @PREFIX@_EMBEDDING_WIDTH + @PREFIX@_EMBEDDING_EPSILON);
  for (i = 0; i < @PREFIX@_EMBEDDING_WIDTH; i++) {
    out[i] = quantized((float)(((double)x[i] - mean) * factor * (double)gamma[i] + (double)beta[i]), scale, zero_point);
  }
}

int @STEM@_embed(const @STEM@_tables_t *tables, const int32_t *tokens, int count, float scale, int zero_point,
             @STEM@_input_t *embedded) {
  int i;
  if (count < 0 || count > @PREFIX@_EMBEDDING_SEQUENCE) {
    return -1;
  }
  for (i = 0; i < @PREFIX@_EMBEDDING_SEQUENCE; i++) {
    int32_t token = i < count ? tokens[i] : @PREFIX@_EMBEDDING_PADDING;
    if (token < 0 || token >= @PREFIX@_EMBEDDING_VOCABULARY) {
      return -1;
    }
    embed_one(tables, token, tables->positions + (int64_t)i * @PREFIX@_EMBEDDING_WIDTH, scale, zero_point,
              embedded + (int64_t)i * @PREFIX@_EMBEDDING_WIDTH);
  }
  return 0;
}

int @STEM@_mask(int count, float scale, int zero_point, @STEM@_input_t *mask) {
  int i;
  if (count < 0 || count > @PREFIX@_EMBEDDING_SEQUENCE) {
    return -1;
  }
  for (i = 0; i < @PREFIX@_EMBEDDING_SEQUENCE; i++) {
    mask[i] = quantized(i < count ? 0.0f : @PREFIX@_EMBEDDING_MASK, scale, zero_point);
  }
  return 0;
}
