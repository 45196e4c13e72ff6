#include "boxes_call.h"

#include "error.h"

namespace fastloss {

int check_boxes_backward(const fastloss_boxes& call) {
  const LossEntry* loss = find_loss(kBoxLosses, call.loss);
  if (!loss)
    return fail("loss '%s' is unknown; the losses between boxes are: %s", call.loss,
                names_of(kBoxLosses).c_str());
  if (call.parameter_count != loss->parameter_count())
    return fail("loss '%s' takes %d parameters (%s), not %d", call.loss, loss->parameter_count(),
                loss->parameters, call.parameter_count);
  if (!dtype_size(call.y_true_dtype))
    return fail("y_true has dtype code %d; expected a boolean, an integer or a float",
                call.y_true_dtype);
  if (!is_prediction_dtype(call.y_pred_dtype))
    return fail("y_pred has dtype code %d; expected float16, bfloat16, float32 or float64",
                call.y_pred_dtype);
  if (call.boxes < 0 || call.replicas < 1)
    return fail("boxes %lld must not be negative and replicas %d must be positive",
                static_cast<long long>(call.boxes), call.replicas);
  if (call.reduction < FASTLOSS_NONE || call.reduction > FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT)
    return fail("reduction code %d is unknown", call.reduction);
  if (call.box_format != FASTLOSS_CORNERS && call.box_format != FASTLOSS_CENTRE)
    return fail("box format code %d is unknown", call.box_format);
  return 0;
}

int check_boxes_forward(const fastloss_boxes& call, const void* gradient) {
  if (check_boxes_backward(call)) return -1;
  if (gradient && call.reduction == FASTLOSS_NONE)
    return fail("a loss per box has no gradient of its own: call fastloss_boxes_backward");
  return 0;
}

}  // namespace fastloss
