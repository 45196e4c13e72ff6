#include "rowwise_call.h"

#include "error.h"

namespace fastloss {

int check_rowwise(const fastloss_rowwise& call) {
  const RowwiseLossEntry* const loss = find_loss(kRowwiseLosses, call.loss);
  if (!loss)
    return fail("loss '%s' is unknown; the rowwise losses are: %s", call.loss,
                names_of(kRowwiseLosses).c_str());
  if (call.parameter_count != loss->parameter_count())
    return fail("loss '%s' takes %d parameters (%s), not %d", call.loss, loss->parameter_count(),
                loss->parameters, call.parameter_count);
  if (!dtype_size(call.y_true_dtype))
    return fail("y_true has dtype code %d; expected a boolean, an integer or a float",
                call.y_true_dtype);
  if (!is_prediction_dtype(call.y_pred_dtype))
    return fail("y_pred has dtype code %d; expected float16, bfloat16, float32 or float64",
                call.y_pred_dtype);
  if (call.outer < 0 || call.classes < 0 || call.inner < 0 || call.replicas < 1)
    return fail(
        "outer %lld, classes %lld and inner %lld must not be negative and replicas %d must be "
        "positive",
        static_cast<long long>(call.outer), static_cast<long long>(call.classes),
        static_cast<long long>(call.inner), call.replicas);
  if (call.reduction < FASTLOSS_NONE || call.reduction > FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT)
    return fail("reduction code %d is unknown", call.reduction);
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
