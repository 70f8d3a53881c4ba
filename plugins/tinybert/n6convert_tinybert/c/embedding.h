/* Tokens to the graph's inputs: table lookup, position, LayerNorm, quantization; and the attention mask.
 *
 * The tables are files of the package, to be placed in flash as they are (little endian, no header):
 *   embedding_words.bin      [VOCABULARY][WIDTH] int8 or float32, see @PREFIX@_EMBEDDING_INT8
 *   embedding_scales.bin     [VOCABULARY] float32, only with int8 words: word = row * scale
 *   embedding_positions.bin  [SEQUENCE][WIDTH] float32, token type 0 added
 *   embedding_norm.bin       [2][WIDTH] float32: gamma, then beta
 */
#ifndef @PREFIX@_EMBEDDING_H
#define @PREFIX@_EMBEDDING_H

#include "@STEM@.h"

#ifdef __cplusplus
extern "C" {
#endif

#if @PREFIX@_EMBEDDING_INT8
typedef int8_t @STEM@_word_t;
#else
typedef float @STEM@_word_t;
#endif

typedef struct {
  const @STEM@_word_t *words;
  const float *scales; /* NULL with float words */
  const float *positions;
  const float *norm;
} @STEM@_tables_t;

/* Fill the input `embedded`, [SEQUENCE][WIDTH], with q = round(x / scale) + zero_point (x itself in a float buffer).
 * Returns 0, or -1 when there are too many tokens or a token is outside the vocabulary. */
int @STEM@_embed(const @STEM@_tables_t *tables, const int32_t *tokens, int count, float scale, int zero_point,
             @STEM@_input_t *embedded);

/* Fill the input `mask`, [SEQUENCE], for so many real tokens. Returns 0, or -1 for a wrong count. */
int @STEM@_mask(int count, float scale, int zero_point, @STEM@_input_t *mask);

#ifdef __cplusplus
}
#endif

#endif
