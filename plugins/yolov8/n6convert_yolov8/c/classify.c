/* Classes from the output of @STEM@. Plain C99, no allocation. Written by n6convert; Apache-2.0. */
#include "@STEM@_classify.h"

#include <math.h>

static float real(@STEM@_output_t q)
{
  return @STEM@_outputs[0].scale * ((float)q - (float)@STEM@_outputs[0].zero_point);
}

int32_t @STEM@_classify(const @STEM@_output_t *const outputs[@PREFIX@_OUTPUTS], @STEM@_class_t *best, int32_t count)
{
  const @STEM@_output_t *scores = outputs[0];
  int32_t found = 0, c, i;
#if @PREFIX@_LOGITS
  @STEM@_output_t highest = scores[0];
  float sum = 0.0f;
  for (c = 1; c < @PREFIX@_CLASSES; c++) if (scores[c] > highest) highest = scores[c];
  for (c = 0; c < @PREFIX@_CLASSES; c++) sum += expf(real(scores[c]) - real(highest));
#endif
  for (c = 0; c < @PREFIX@_CLASSES; c++) {
    if (found == count && (count == 0 || scores[c] <= scores[best[count - 1].class_id])) continue;
    i = found < count ? found++ : count - 1;
    for (; i > 0 && scores[c] > scores[best[i - 1].class_id]; i--) best[i] = best[i - 1];
    best[i].class_id = c;
  }
  for (i = 0; i < found; i++) {
#if @PREFIX@_LOGITS
    best[i].probability = expf(real(scores[best[i].class_id]) - real(highest)) / sum;
#else
    best[i].probability = real(scores[best[i].class_id]);
#endif
  }
  return found;
}
