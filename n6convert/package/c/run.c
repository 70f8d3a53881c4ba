/* Runs @STEM@ on the NPU. Written by n6convert; Apache-2.0. */
#include "@STEM@_run.h"

#include "stm32n6xx.h" /* caches of the CPU */
#include "ll_aton_runtime.h"
#if N6_RUNTIME_STAI
#include "stai.h"
#include "stai_@NAME@.h"
#endif

#define CACHE_LINE 32u

static @STEM@_input_t *inputs[@PREFIX@_INPUTS];
static @STEM@_output_t *outputs[@PREFIX@_OUTPUTS];
static const @STEM@_output_t *results[@PREFIX@_OUTPUTS];

/* Memory gets what the CPU wrote, and no line is left that would be written over the NPU's results later. */
static void give(void *buffer, uint32_t size)
{
#if defined(__DCACHE_PRESENT) && (__DCACHE_PRESENT == 1U)
  const uintptr_t from = (uintptr_t)buffer & ~(uintptr_t)(CACHE_LINE - 1u);
  SCB_CleanInvalidateDCache_by_Addr((uint32_t *)from, (int32_t)((uintptr_t)buffer - from + size));
#else
  (void)buffer;
  (void)size;
#endif
}

/* The CPU forgets what it read from the buffer before the NPU wrote it. */
static void take(void *buffer, uint32_t size)
{
#if defined(__DCACHE_PRESENT) && (__DCACHE_PRESENT == 1U)
  const uintptr_t from = (uintptr_t)buffer & ~(uintptr_t)(CACHE_LINE - 1u);
  SCB_InvalidateDCache_by_Addr((uint32_t *)from, (int32_t)((uintptr_t)buffer - from + size));
#else
  (void)buffer;
  (void)size;
#endif
}

#if N6_RUNTIME_STAI

static STAI_NETWORK_CONTEXT_DECLARE(context, STAI_@UPPER@_CONTEXT_SIZE)

static int begin(void)
{
  return (int)stai_runtime_init();
}

static int find_buffers(void)
{
  stai_ptr found[@PREFIX@_INPUTS > @PREFIX@_OUTPUTS ? @PREFIX@_INPUTS : @PREFIX@_OUTPUTS] = {0};
  stai_size count = @PREFIX@_INPUTS;
  uint32_t i;
  int code = (int)stai_@NAME@_init(context);
  if (code != (int)STAI_SUCCESS) return code;
  if (STAI_@UPPER@_IN_NUM != @PREFIX@_INPUTS || STAI_@UPPER@_OUT_NUM != @PREFIX@_OUTPUTS) return @PREFIX@_WRONG_NETWORK;
@STAI_SIZES@
#if !@PREFIX@_INPUTS_BROUGHT
  code = (int)stai_@NAME@_get_inputs(context, found, &count);
  if (code != (int)STAI_SUCCESS) return code;
  for (i = 0; i < @PREFIX@_INPUTS; i++) inputs[i] = (@STEM@_input_t *)(void *)found[i];
#endif
#if !@PREFIX@_OUTPUTS_BROUGHT
  count = @PREFIX@_OUTPUTS;
  code = (int)stai_@NAME@_get_outputs(context, found, &count);
  if (code != (int)STAI_SUCCESS) return code;
  for (i = 0; i < @PREFIX@_OUTPUTS; i++) results[i] = outputs[i] = (@STEM@_output_t *)(void *)found[i];
#endif
  (void)found;
  (void)count;
  (void)i;
  return 0;
}

static int infer(void)
{
  stai_return_code code;
#if @PREFIX@_INPUTS_BROUGHT || @PREFIX@_OUTPUTS_BROUGHT
  stai_ptr brought[@PREFIX@_INPUTS > @PREFIX@_OUTPUTS ? @PREFIX@_INPUTS : @PREFIX@_OUTPUTS];
  uint32_t i;
#endif
#if @PREFIX@_INPUTS_BROUGHT
  for (i = 0; i < @PREFIX@_INPUTS; i++) brought[i] = (stai_ptr)(void *)inputs[i];
  code = stai_@NAME@_set_inputs(context, brought, @PREFIX@_INPUTS);
  if (code != STAI_SUCCESS) return (int)code;
#endif
#if @PREFIX@_OUTPUTS_BROUGHT
  for (i = 0; i < @PREFIX@_OUTPUTS; i++) brought[i] = (stai_ptr)(void *)outputs[i];
  code = stai_@NAME@_set_outputs(context, brought, @PREFIX@_OUTPUTS);
  if (code != STAI_SUCCESS) return (int)code;
#endif
  do {
    code = stai_@NAME@_run(context, STAI_MODE_ASYNC);
    if (code == STAI_RUNNING_WFE) LL_ATON_OSAL_WFE();
  } while (code == STAI_RUNNING_WFE || code == STAI_RUNNING_NO_WFE);
  if (code != STAI_DONE && code != STAI_SUCCESS) return (int)code;
  return (int)stai_ext_@NAME@_new_inference(context);
}

#else

LL_ATON_DECLARE_NAMED_NN_INSTANCE_AND_INTERFACE(@NAME@)

static int begin(void)
{
  return 0; /* LL_ATON_RT_Main sets the runtime up */
}

static int find_buffers(void)
{
#if !@PREFIX@_INPUTS_BROUGHT || !@PREFIX@_OUTPUTS_BROUGHT
  const LL_Buffer_InfoTypeDef *info;
  uint32_t i;
#endif
#if !@PREFIX@_INPUTS_BROUGHT
  info = LL_ATON_Input_Buffers_Info_@NAME@();
  for (i = 0; i < @PREFIX@_INPUTS; i++, info++) {
    if (LL_Buffer_len(info) != @STEM@_inputs[i].size) return @PREFIX@_WRONG_NETWORK;
    inputs[i] = (@STEM@_input_t *)(void *)LL_Buffer_addr_start(info);
  }
#endif
#if !@PREFIX@_OUTPUTS_BROUGHT
  info = LL_ATON_Output_Buffers_Info_@NAME@();
  for (i = 0; i < @PREFIX@_OUTPUTS; i++, info++) {
    if (LL_Buffer_len(info) != @STEM@_outputs[i].size) return @PREFIX@_WRONG_NETWORK;
    results[i] = outputs[i] = (@STEM@_output_t *)(void *)LL_Buffer_addr_start(info);
  }
#endif
  return 0;
}

static int infer(void)
{
#if @PREFIX@_INPUTS_BROUGHT || @PREFIX@_OUTPUTS_BROUGHT
  LL_ATON_User_IO_Result_t code;
  uint32_t i;
#endif
#if @PREFIX@_INPUTS_BROUGHT
  for (i = 0; i < @PREFIX@_INPUTS; i++) {
    code = LL_ATON_Set_User_Input_Buffer_@NAME@(i, inputs[i], @STEM@_inputs[i].size);
    if (code != LL_ATON_User_IO_NOERROR) return (int)code;
  }
#endif
#if @PREFIX@_OUTPUTS_BROUGHT
  for (i = 0; i < @PREFIX@_OUTPUTS; i++) {
    code = LL_ATON_Set_User_Output_Buffer_@NAME@(i, outputs[i], @STEM@_outputs[i].size);
    if (code != LL_ATON_User_IO_NOERROR) return (int)code;
  }
#endif
  LL_ATON_RT_Main(&NN_Instance_@NAME@);
  return 0;
}

#endif

int @STEM@_init(void)
{
  const int code = begin();
  return code != 0 ? code : find_buffers();
}

int @STEM@_init_beside(void)
{
  return find_buffers();
}

#if @PREFIX@_INPUTS_BROUGHT
int @STEM@_set_input(uint32_t index, @STEM@_input_t *buffer)
{
  if (index >= @PREFIX@_INPUTS || ((uintptr_t)buffer & (CACHE_LINE - 1u)) != 0u) return -1;
  inputs[index] = buffer;
  return 0;
}
#endif

#if @PREFIX@_OUTPUTS_BROUGHT
int @STEM@_set_output(uint32_t index, @STEM@_output_t *buffer)
{
  if (index >= @PREFIX@_OUTPUTS || ((uintptr_t)buffer & (CACHE_LINE - 1u)) != 0u) return -1;
  results[index] = outputs[index] = buffer;
  return 0;
}
#endif

@STEM@_input_t *@STEM@_input(uint32_t index)
{
  return index < @PREFIX@_INPUTS ? inputs[index] : (@STEM@_input_t *)0;
}

int @STEM@_run(void)
{
  uint32_t i;
  int code;
  for (i = 0; i < @PREFIX@_INPUTS; i++) give(inputs[i], @STEM@_inputs[i].size);
  for (i = 0; i < @PREFIX@_OUTPUTS; i++) give(outputs[i], @STEM@_outputs[i].size);
  code = infer();
  for (i = 0; i < @PREFIX@_OUTPUTS; i++) take(outputs[i], @STEM@_outputs[i].size);
  return code;
}

const @STEM@_output_t *const *@STEM@_results(void)
{
  return results;
}
