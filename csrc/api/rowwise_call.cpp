#include "api/rowwise_call.h"

namespace fastloss {

int check_rowwise(const fastloss_rowwise& call) {
  if (check_loss(kRowwiseLosses, "rowwise losses", call.loss, call.parameter_count) ||
      check_codes(call))
    return -1;
  const RowwiseLossEntry* const loss = find_loss(kRowwiseLosses, call.loss);
  if (call.outer < 0 || call.classes < 0 || call.inner < 0 || call.replicas < 1)
    return fail(
        "outer %lld, classes %lld and inner %lld must not be negative and replicas %d must be "
        "positive",
        static_cast<long long>(call.outer), static_cast<long long>(call.classes),
        static_cast<long long>(call.inner), call.replicas);
  if (!(call.temperature > 0) || !(call.logit_softcap >= 0))
    return fail(
        "temperature is %g and logit_softcap is %g; expected a positive number, and one that is "
        "not negative",
        call.temperature, call.logit_softcap);
  if (call.label_smoothing != 0 && !loss->smooths)
    return fail("loss '%s' has no label_smoothing", call.loss);
  return 0;
}

int check_rowwise_forward(const fastloss_rowwise& call, const void* gradient) {
  if (check_rowwise(call)) return -1;
  if (gradient && call.reduction == FASTLOSS_NONE)
    return fail("a loss per row has no gradient of its own: call fastloss_rowwise_backward");
  return 0;
}

const LossEntry* find_rowwise(const char* name) { return find_loss(kRowwiseLosses, name); }

}  // namespace fastloss
