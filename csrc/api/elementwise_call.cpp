#include "api/elementwise_call.h"

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
  if (checked_product({{"rows", call.rows}, {"columns", call.columns}}) < 0) return -1;
  return check_common(call, call.rows);
}

int refuse_in_place(const fastloss_elementwise& call) {
  const fastloss_term* term = call.terms;
  while (!find_loss(kElementwiseLosses, term->loss)->needs_all_labels) ++term;
  return fail("loss '%s' may need a second pass over y_pred, so its gradient cannot overwrite it",
              term->loss);
}

}  // namespace

int check_elementwise(const fastloss_term& term) {
  return check_loss(kElementwiseLosses, "elementwise losses", term.loss, term.parameter_count);
}

bool needs_all_labels(const fastloss_elementwise& call) {
  for (int32_t k = 0; k < call.term_count; ++k)
    if (find_loss(kElementwiseLosses, call.terms[k].loss)->needs_all_labels) return true;
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
  if (gradient == call.y_pred && gradient && needs_all_labels(call)) return refuse_in_place(call);
  return 0;
}

int check_elementwise_backward(const fastloss_elementwise& call, const void* gradient) {
  if (check(call)) return -1;
  if (gradient == call.y_pred && call.rows && call.columns && needs_all_labels(call))
    return refuse_in_place(call);
  return 0;
}

}  // namespace fastloss
