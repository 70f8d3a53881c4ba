/* Both of ST's runtimes for one network "net" on the host: it answers the self-test, but for what a test asks for.
   `events` records what happened: c cleaned, i invalidated, R ran, B the runtime began. */
#include <string.h>
#include "ll_aton_runtime.h"
#include "stai_net.h"
#include "n6_net_run.h"
#include "n6_net_selftest.h"

char events[256];
int wrong_by, wrong_size, fails;
static uint32_t begun;
static __attribute__((aligned(32))) unsigned char in[4096], out0[4096], out1[4096];
static unsigned char *in_at = in, *out_at[2] = {out0, out1};

static void record(char event)
{
  const size_t end = strlen(events);
  if (end + 1 < sizeof events) events[end] = event;
}

void SCB_CleanInvalidateDCache_by_Addr(volatile void *addr, int32_t dsize)
{
  record((uintptr_t)addr % 32 || dsize <= 0 ? '?' : 'c');
}

void SCB_InvalidateDCache_by_Addr(volatile void *addr, int32_t dsize)
{
  record((uintptr_t)addr % 32 || dsize <= 0 ? '?' : 'i');
}

static void infer(void)
{
  record(memcmp(in_at, n6_net_selftest_input_0, n6_net_inputs[0].size) ? 'X' : 'R');
  memcpy(out_at[0], n6_net_selftest_output_0, n6_net_outputs[0].size);
  memcpy(out_at[1], n6_net_selftest_output_1, n6_net_outputs[1].size);
  ((n6_net_output_t *)(void *)out_at[1])[2] = (n6_net_output_t)(((n6_net_output_t *)(void *)out_at[1])[2] + wrong_by);
}

void LL_ATON_OSAL_WFE(void) { record('w'); }
void LL_ATON_RT_Main(NN_Instance_TypeDef *network) { (void)network; infer(); }

const LL_Buffer_InfoTypeDef *LL_ATON_Input_Buffers_Info_net(void)
{
  static LL_Buffer_InfoTypeDef info[2];
  info[0].start = in;
  info[0].bytes = n6_net_inputs[0].size + (uint32_t)wrong_size;
  return info;
}

const LL_Buffer_InfoTypeDef *LL_ATON_Output_Buffers_Info_net(void)
{
  static LL_Buffer_InfoTypeDef info[3];
  int i;
  for (i = 0; i < 2; i++) {
    info[i].start = i ? out1 : out0;
    info[i].bytes = n6_net_outputs[i].size;
  }
  return info;
}

LL_ATON_User_IO_Result_t LL_ATON_Set_User_Input_Buffer_net(uint32_t num, void *buffer, uint32_t size)
{
  in_at = buffer;
  return num == 0 && size == n6_net_inputs[0].size ? LL_ATON_User_IO_NOERROR : LL_ATON_User_IO_WRONG_SIZE;
}

LL_ATON_User_IO_Result_t LL_ATON_Set_User_Output_Buffer_net(uint32_t num, void *buffer, uint32_t size)
{
  out_at[num] = buffer;
  return size == n6_net_outputs[num].size ? LL_ATON_User_IO_NOERROR : LL_ATON_User_IO_WRONG_SIZE;
}

stai_return_code stai_runtime_init(void) { record('B'); begun++; return STAI_SUCCESS; }
stai_return_code stai_net_init(stai_network *n) { (void)n; return begun ? STAI_SUCCESS : STAI_ERROR_GENERIC; }
stai_return_code stai_net_get_inputs(stai_network *n, stai_ptr *found, stai_size *count)
{
  (void)n;
  found[0] = in;
  *count = 1;
  return STAI_SUCCESS;
}
stai_return_code stai_net_get_outputs(stai_network *n, stai_ptr *found, stai_size *count)
{
  (void)n;
  found[0] = out0;
  found[1] = out1;
  *count = 2;
  return STAI_SUCCESS;
}
stai_return_code stai_net_set_inputs(stai_network *n, const stai_ptr *given, stai_size count)
{
  (void)n;
  in_at = given[0];
  return count == 1 ? STAI_SUCCESS : STAI_ERROR_GENERIC;
}
stai_return_code stai_net_set_outputs(stai_network *n, const stai_ptr *given, stai_size count)
{
  (void)n;
  out_at[0] = given[0];
  out_at[1] = given[1];
  return count == 2 ? STAI_SUCCESS : STAI_ERROR_GENERIC;
}
stai_return_code stai_net_run(stai_network *n, stai_run_mode mode)
{
  static int turn;
  (void)n;
  (void)mode;
  if (fails) return STAI_ERROR_GENERIC;
  turn = (turn + 1) % 3;
  if (turn == 1) return STAI_RUNNING_NO_WFE;
  if (turn == 2) return STAI_RUNNING_WFE;
  infer();
  return STAI_DONE;
}
stai_return_code stai_ext_net_new_inference(stai_network *n) { (void)n; return STAI_SUCCESS; }
