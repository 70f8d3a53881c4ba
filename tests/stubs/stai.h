/* The stai API, as far as generated C calls it. */
#ifndef STUB_STAI_H
#define STUB_STAI_H
#include <stdint.h>
typedef uint8_t stai_network;
typedef uint8_t *stai_ptr;
typedef uint32_t stai_size;
typedef struct {
  int placeholder;
} stai_network_info;
typedef enum {
  STAI_SUCCESS = 0,
  STAI_RUNNING_NO_WFE = 0x10,
  STAI_RUNNING_WFE = 0x11,
  STAI_DONE = 0x12,
  STAI_ERROR_GENERIC = 0x20000
} stai_return_code;
typedef enum { STAI_MODE_SYNC = 1, STAI_MODE_ASYNC = 2 } stai_run_mode;
#define STAI_NETWORK_CONTEXT_DECLARE(name, size) stai_network name[size] = {0};
#ifdef __cplusplus
extern "C" {
#endif
stai_return_code stai_runtime_init(void);
#define STUB_STAI_NETWORK(name)                                                                     \
  stai_return_code stai_##name##_init(stai_network *network);                                       \
  stai_return_code stai_##name##_get_inputs(stai_network *network, stai_ptr *found, stai_size *n);  \
  stai_return_code stai_##name##_get_outputs(stai_network *network, stai_ptr *found, stai_size *n); \
  stai_return_code stai_##name##_set_inputs(stai_network *network, const stai_ptr *given, stai_size n);  \
  stai_return_code stai_##name##_set_outputs(stai_network *network, const stai_ptr *given, stai_size n); \
  stai_return_code stai_##name##_run(stai_network *network, stai_run_mode mode);                    \
  stai_return_code stai_ext_##name##_new_inference(stai_network *network);
#ifdef __cplusplus
}
#endif
#endif
