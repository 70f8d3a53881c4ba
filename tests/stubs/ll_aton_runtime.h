/* The LL_ATON runtime, as far as generated C calls it. */
#ifndef STUB_LL_ATON_RUNTIME_H
#define STUB_LL_ATON_RUNTIME_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef struct {
  const char *name;
  unsigned char *start;
  uint32_t bytes;
} LL_Buffer_InfoTypeDef;
typedef struct {
  const char *name;
} NN_Instance_TypeDef;
typedef enum { LL_ATON_User_IO_NOERROR = 0, LL_ATON_User_IO_WRONG_SIZE } LL_ATON_User_IO_Result_t;

static inline unsigned char *LL_Buffer_addr_start(const LL_Buffer_InfoTypeDef *buffer) { return buffer->start; }
static inline uint32_t LL_Buffer_len(const LL_Buffer_InfoTypeDef *buffer) { return buffer->bytes; }
void LL_ATON_RT_Main(NN_Instance_TypeDef *network);
void LL_ATON_OSAL_WFE(void);

#define LL_ATON_DECLARE_NAMED_NN_INSTANCE_AND_INTERFACE(name)                                                    \
  const LL_Buffer_InfoTypeDef *LL_ATON_Input_Buffers_Info_##name(void);                                          \
  const LL_Buffer_InfoTypeDef *LL_ATON_Output_Buffers_Info_##name(void);                                         \
  LL_ATON_User_IO_Result_t LL_ATON_Set_User_Input_Buffer_##name(uint32_t num, void *buffer, uint32_t size);      \
  LL_ATON_User_IO_Result_t LL_ATON_Set_User_Output_Buffer_##name(uint32_t num, void *buffer, uint32_t size);     \
  static NN_Instance_TypeDef NN_Instance_##name = {#name};
#ifdef __cplusplus
}
#endif
#endif
