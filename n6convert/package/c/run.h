/* Runs @STEM@ on the NPU. Written by n6convert; Apache-2.0.

   The application has switched on the NPU, its memories and the flash; then
     @STEM@_init();
     write @STEM@_input(0), @STEM@_run(), read @STEM@_results().
   Caches of the CPU are taken care of here. */
#ifndef @PREFIX@_RUN_H
#define @PREFIX@_RUN_H

#include "@STEM@.h"

#ifndef N6_RUNTIME_STAI
#define N6_RUNTIME_STAI (@STAI@) /* 1: stai_*, ST Edge AI Core 3 and 4; 0: LL_ATON_*, Core 2 */
#endif

#define @PREFIX@_INPUTS_BROUGHT (@INPUTS_BROUGHT@)   /* 1: compiled with --no-inputs-allocation */
#define @PREFIX@_OUTPUTS_BROUGHT (@OUTPUTS_BROUGHT@) /* 1: compiled with --no-outputs-allocation */
#define @PREFIX@_WRONG_NETWORK (-1000) /* the network that is linked has other buffers than this package says */

#ifdef __cplusplus
extern "C" {
#endif

/* Once, before anything else: 0, @PREFIX@_WRONG_NETWORK, or what the runtime returned. */
int @STEM@_init(void);

/* The same where another network of this firmware was initialized before. */
int @STEM@_init_beside(void);

#if @PREFIX@_INPUTS_BROUGHT
/* Buffers of the application, 32 bytes aligned, @STEM@_inputs[].size bytes each. */
int @STEM@_set_input(uint32_t index, @STEM@_input_t *buffer);
#endif
#if @PREFIX@_OUTPUTS_BROUGHT
int @STEM@_set_output(uint32_t index, @STEM@_output_t *buffer);
#endif

/* A buffer to write, in the order of @STEM@_inputs. */
@STEM@_input_t *@STEM@_input(uint32_t index);

/* One inference: 0, or what the runtime returned. */
int @STEM@_run(void);

/* All output buffers in the order of @STEM@_outputs, as the decoder takes them; valid until the next network runs. */
const @STEM@_output_t *const *@STEM@_results(void);

/* One inference on the input of @STEM@_selftest.h: prints PASS or the worst difference, returns 1 or 0. */
int @STEM@_selftest_run(void);

#ifdef __cplusplus
}
#endif

#endif
