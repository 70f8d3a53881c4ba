/* @STEM@ in ST's camera applications: POSTPROCESS_CUSTOM. Written by n6convert; Apache-2.0.

   Goes beside the application's other app_postprocess_*.c. It fills what the display code draws: spe_pp_out_t, places
   as shares of the network's input. */
#include "app_postprocess.h"
#include "app_config.h"

#include "@STEM@_pose.h"
#include "@STEM@_run.h"

#if POSTPROCESS_TYPE == POSTPROCESS_CUSTOM

static @STEM@_keypoint_t found[@PREFIX@_KEYPOINTS];
static spe_pp_outBuffer_t shown[@PREFIX@_KEYPOINTS];

#if N6_RUNTIME_STAI
int32_t app_postprocess_init(void *params_postprocess, stai_network_info *NN_Info)
{
  (void)NN_Info;
#else
int32_t app_postprocess_init(void *params_postprocess, NN_Instance_TypeDef *NN_Instance)
{
  (void)NN_Instance;
#endif
  (void)params_postprocess; /* grids are constants of @STEM@.h */
  return 0;
}

int32_t app_postprocess_run(void *pInput[], int nb_input, void *pOutput, void *pInput_param)
{
  const @STEM@_output_t *outputs[@PREFIX@_OUTPUTS];
  int32_t i;
  (void)pInput_param;
  if (nb_input != @PREFIX@_OUTPUTS) return -1;
  for (i = 0; i < @PREFIX@_OUTPUTS; i++) outputs[i] = (const @STEM@_output_t *)pInput[i];
  @STEM@_pose(outputs, found);
  for (i = 0; i < @PREFIX@_KEYPOINTS; i++) {
    shown[i].x_center = found[i].x;
    shown[i].y_center = found[i].y;
    shown[i].proba = found[i].score;
  }
  ((spe_pp_out_t *)pOutput)->pOutBuff = shown;
  return 0;
}

#endif
