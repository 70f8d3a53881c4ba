/* ST's post-processing wrapper: its two functions, its numbers, and what the display code draws. */
#ifndef STUB_APP_POSTPROCESS_H
#define STUB_APP_POSTPROCESS_H
#include <stdint.h>
#include "ll_aton_runtime.h"
#include "stai.h"
#define POSTPROCESS_OD_YOLO_V8_UF (103)
#define POSTPROCESS_OD_YOLO_V8_UI (104)
#define POSTPROCESS_MPE_YOLO_V8_UF (200)
#define POSTPROCESS_MPE_YOLO_V8_UI (201)
#define POSTPROCESS_SPE_MOVENET_UF (203)
#define POSTPROCESS_SPE_MOVENET_UI (204)
#define POSTPROCESS_CUSTOM (1000)
#define COLOR_BGR (0)
#define COLOR_RGB (1)
typedef float float32_t;
typedef struct {
  float32_t x_center, y_center, width, height, conf;
  int32_t class_index;
} od_pp_outBuffer_t;
typedef struct {
  od_pp_outBuffer_t *pOutBuff;
  int32_t nb_detect;
} od_pp_out_t;
typedef struct {
  float32_t x, y, conf;
} mpe_pp_keyPoints_t;
typedef struct {
  float32_t x_center, y_center, width, height, conf;
  int32_t class_index;
  mpe_pp_keyPoints_t *pKeyPoints;
} mpe_pp_outBuffer_t;
typedef struct {
  mpe_pp_outBuffer_t *pOutBuff;
  int32_t nb_detect;
} mpe_pp_out_t;
typedef struct {
  float32_t x_center, y_center, proba;
} spe_pp_outBuffer_t;
typedef struct {
  spe_pp_outBuffer_t *pOutBuff;
} spe_pp_out_t;
#if STUB_CORE >= 3
int32_t app_postprocess_init(void *params_postprocess, stai_network_info *NN_Info);
#else
int32_t app_postprocess_init(void *params_postprocess, NN_Instance_TypeDef *NN_Instance);
#endif
int32_t app_postprocess_run(void *pInput[], int nb_input, void *pOutput, void *pInput_param);
#endif
