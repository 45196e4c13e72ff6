#include "api/boxes_call.h"

namespace fastloss {

int check_boxes_backward(const fastloss_boxes& call) {
  if (check_loss(kBoxLosses, "losses between boxes", call.loss, call.parameter_count) ||
      checked_product({{"boxes", call.boxes}, {"coordinates", kBoxSize}}) < 0 ||
      check_common(call, call.boxes))
    return -1;
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
