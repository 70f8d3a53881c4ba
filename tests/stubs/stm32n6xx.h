/* The CPU's cache, as CMSIS declares it. */
#ifndef STUB_STM32N6XX_H
#define STUB_STM32N6XX_H
#include <stdint.h>
#define __DCACHE_PRESENT 1U
#ifdef __cplusplus
extern "C" {
#endif
void SCB_CleanInvalidateDCache_by_Addr(volatile void *addr, int32_t dsize);
void SCB_InvalidateDCache_by_Addr(volatile void *addr, int32_t dsize);
#ifdef __cplusplus
}
#endif
#endif
