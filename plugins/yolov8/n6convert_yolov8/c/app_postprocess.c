/* @STEM@ in ST's camera applications: POSTPROCESS_CUSTOM. Written by n6convert; Apache-2.0.

   Goes beside the application's other app_postprocess_*.c. It fills what the display code draws: @RESULT@,
   places and sizes as shares of the network's input. */
#include "app_postprocess.h"
#include "app_config.h"

#include "@STEM@_decode.h"
#include "@STEM@_run.h"

#if POSTPROCESS_TYPE == POSTPROCESS_CUSTOM

#if @PREFIX@_KEYPOINTS > 0
#define SHOWN AI_MPE_YOLOV8_PP_MAX_BOXES_LIMIT /* what the display has room for: app_config.h */
#else
#define SHOWN AI_OD_PP_MAX_BOXES_LIMIT
#endif
#define WIDTH ((float)@PREFIX@_IMAGE_WIDTH)
#define HEIGHT ((float)@PREFIX@_IMAGE_HEIGHT)

static @STEM@_candidate_t candidates[@PREFIX@_ANCHORS];
static @STEM@_detection_t found[SHOWN];
#if @PREFIX@_KEYPOINTS > 0
static mpe_pp_outBuffer_t shown[SHOWN];
static mpe_pp_keyPoints_t points[SHOWN][@PREFIX@_KEYPOINTS];
#else
static od_pp_outBuffer_t shown[SHOWN];
#endif

#if N6_RUNTIME_STAI
int32_t app_postprocess_init(void *params_postprocess, stai_network_info *NN_Info)
{
  (void)NN_Info;
#else
int32_t app_postprocess_init(void *params_postprocess, NN_Instance_TypeDef *NN_Instance)
{
  (void)NN_Instance;
#endif
  (void)params_postprocess; /* grids and limits are constants of @STEM@.h */
  return 0;
}

int32_t app_postprocess_run(void *pInput[], int nb_input, void *pOutput, void *pInput_param)
{
  const @STEM@_output_t *outputs[@PREFIX@_OUTPUTS];
  int32_t i, count;
  (void)pInput_param;
  if (nb_input != @PREFIX@_OUTPUTS) return -1;
  for (i = 0; i < @PREFIX@_OUTPUTS; i++) outputs[i] = (const @STEM@_output_t *)pInput[i];
  count = @STEM@_decode(outputs, @PREFIX@_CONFIDENCE, @PREFIX@_IOU, candidates, found, SHOWN);
  for (i = 0; i < count; i++) {
#if @PREFIX@_KEYPOINTS > 0
    int32_t k;
    for (k = 0; k < @PREFIX@_KEYPOINTS; k++) {
      points[i][k].x = found[i].keypoints[k][0] / WIDTH;
      points[i][k].y = found[i].keypoints[k][1] / HEIGHT;
      points[i][k].conf = found[i].keypoints[k][2];
    }
    shown[i].pKeyPoints = points[i];
#endif
    shown[i].x_center = 0.5f * (found[i].x1 + found[i].x2) / WIDTH;
    shown[i].y_center = 0.5f * (found[i].y1 + found[i].y2) / HEIGHT;
    shown[i].width = (found[i].x2 - found[i].x1) / WIDTH;
    shown[i].height = (found[i].y2 - found[i].y1) / HEIGHT;
    shown[i].conf = found[i].score;
    shown[i].class_index = found[i].class_id;
  }
#if @PREFIX@_KEYPOINTS > 0
  ((mpe_pp_out_t *)pOutput)->pOutBuff = shown;
  ((mpe_pp_out_t *)pOutput)->nb_detect = count;
#else
  ((od_pp_out_t *)pOutput)->pOutBuff = shown;
  ((od_pp_out_t *)pOutput)->nb_detect = count;
#endif
  return 0;
}

#endif
