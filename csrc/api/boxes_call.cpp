#include "api/boxes_call.h"

namespace fastloss {

int check_boxes_backward(const fastloss_boxes& call) {
  if (check_loss(kBoxLosses, "losses between boxes", call.loss, call.parameter_count) ||
      check_codes(call))
    return -1;
  if (call.boxes < 0 || call.replicas < 1)
    return fail("boxes %lld must not be negative and replicas %d must be positive",
                static_cast<long long>(call.boxes), call.replicas);
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
