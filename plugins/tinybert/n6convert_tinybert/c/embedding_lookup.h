/* Tokens to the graph's int8 inputs: table lookup, position, LayerNorm, quantization; and the attention mask.
 *
 * The tables are files of the package, to be placed in flash as they are (little endian, no header):
 *   embedding_words.bin      [VOCABULARY][WIDTH] int8 or float32, see N6_EMBEDDING_INT8
 *   embedding_scales.bin     [VOCABULARY] float32, only with int8 words: word = row * scale
 *   embedding_positions.bin  [SEQUENCE][WIDTH] float32, token type 0 added
 *   embedding_norm.bin       [2][WIDTH] float32: gamma, then beta
 */
#ifndef EMBEDDING_LOOKUP_H
#define EMBEDDING_LOOKUP_H

#include <stdint.h>

#include "embedding_shape.h"

#ifdef __cplusplus
extern "C" {
#endif

#if N6_EMBEDDING_INT8
typedef int8_t n6_word_t;
#else
typedef float n6_word_t;
#endif

typedef struct {
  const n6_word_t *words;
  const float *scales; /* NULL with float words */
  const float *positions;
  const float *norm;
} n6_embedding_tables_t;

/* Fill the input `embedded`, int8 [SEQUENCE][WIDTH], with q = round(x / scale) + zero_point.
 * Returns 0, or -1 when there are too many tokens or a token is outside the vocabulary. */
int n6_embed(const n6_embedding_tables_t *tables, const int32_t *tokens, int count, float scale, int zero_point,
             int8_t *embedded);

/* Fill the input `mask`, int8 [SEQUENCE], for so many real tokens. Returns 0, or -1 for a wrong count. */
int n6_mask(int count, float scale, int zero_point, int8_t *mask);

#ifdef __cplusplus
}
#endif

#endif
