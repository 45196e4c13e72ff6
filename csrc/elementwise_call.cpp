#include "elementwise_call.h"

#include "error.h"

namespace fastloss {
namespace {

int check(const fastloss_elementwise& call) {
  if (call.term_count < 1)
    return fail("term_count is %d; expected at least one loss", call.term_count);
  for (int32_t k = 0; k < call.term_count; ++k)
    if (check_elementwise(call.terms[k])) return -1;
  if (call.column_weight && call.column_weight_count && call.term_count > 1)
    return fail("column_weight came with %d terms; expected one term, or no column_weight",
                call.term_count);
  if (!dtype_size(call.y_true_dtype))
    return fail("y_true has dtype code %d; expected a boolean, an integer or a float",
                call.y_true_dtype);
  if (!is_prediction_dtype(call.y_pred_dtype))
    return fail("y_pred has dtype code %d; expected float16, bfloat16, float32 or float64",
                call.y_pred_dtype);
  if (call.rows < 0 || call.columns < 0 || call.replicas < 1)
    return fail("rows %lld and columns %lld must not be negative and replicas %d must be positive",
                static_cast<long long>(call.rows), static_cast<long long>(call.columns),
                call.replicas);
  if (call.reduction < FASTLOSS_NONE || call.reduction > FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT)
    return fail("reduction code %d is unknown", call.reduction);
  return 0;
}

int refuse_in_place(const fastloss_elementwise& call) {
  const fastloss_term* term = call.terms;
  while (!find_loss(kElementwiseLosses, term->loss)->binary) ++term;
  return fail("loss '%s' may walk twice, so its gradient cannot overwrite y_pred", term->loss);
}

}  // namespace

int check_elementwise(const fastloss_term& term) {
  const ElementwiseLoss* loss = find_loss(kElementwiseLosses, term.loss);
  if (!loss)
    return fail("loss '%s' is unknown; the elementwise losses are: %s", term.loss,
                names_of(kElementwiseLosses).c_str());
  if (term.parameter_count != loss->parameter_count())
    return fail("loss '%s' takes %d parameters (%s), not %d", term.loss, loss->parameter_count(),
                loss->parameters, term.parameter_count);
  return 0;
}

bool any_binary(const fastloss_elementwise& call) {
  for (int32_t k = 0; k < call.term_count; ++k)
    if (find_loss(kElementwiseLosses, call.terms[k].loss)->binary) return true;
  return false;
}

int check_elementwise_forward(const fastloss_elementwise& call, const void* term_values,
                              const void* gradient) {
  if (check(call)) return -1;
  if (call.reduction == FASTLOSS_NONE) {
    if (gradient)
      return fail("a loss per row has no gradient of its own: call fastloss_elementwise_backward");
    if (term_values)
      return fail("term_values came with a loss per row; expected a reduction to a scalar");
  }
  if (gradient == call.y_pred && gradient && any_binary(call)) return refuse_in_place(call);
  return 0;
}

int check_elementwise_backward(const fastloss_elementwise& call, const void* gradient) {
  if (check(call)) return -1;
  if (gradient == call.y_pred && call.rows && call.columns && any_binary(call))
    return refuse_in_place(call);
  return 0;
}

const LossEntry* find_elementwise(const char* name) { return find_loss(kElementwiseLosses, name); }

}  // namespace fastloss
