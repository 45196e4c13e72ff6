#include "api/rowwise_call.h"

namespace fastloss {

int check_rowwise(const fastloss_rowwise& call) {
  if (check_loss(kRowwiseLosses, "rowwise losses", call.loss, call.parameter_count)) return -1;
  const RowwiseLossEntry* const loss = find_loss(kRowwiseLosses, call.loss);
  if (checked_product({{"outer", call.outer}, {"classes", call.classes}, {"inner", call.inner}}) <
          0 ||
      check_common(call, call.outer * call.inner))
    return -1;
  if (!(call.temperature > 0) || !(call.logit_softcap >= 0))
    return fail(
        "temperature is %g and logit_softcap is %g; expected a positive number, and one that is "
        "not negative",
        call.temperature, call.logit_softcap);
  if (call.label_smoothing != 0 && !loss->has_dense_form)
    return fail("loss '%s' has no label_smoothing", call.loss);
  return 0;
}

int check_rowwise_forward(const fastloss_rowwise& call, const void* gradient) {
  if (check_rowwise(call)) return -1;
  if (gradient && call.reduction == FASTLOSS_NONE)
    return fail("a loss per row has no gradient of its own: call fastloss_rowwise_backward");
  return 0;
}

}  // namespace fastloss
