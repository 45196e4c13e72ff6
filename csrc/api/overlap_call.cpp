#include "api/overlap_call.h"

#include "api/elementwise_call.h"

namespace fastloss {
namespace {

int check_fused_row(const fastloss_overlap& call, const fastloss_term& term) {
  const RowwiseLossEntry* const loss = find_loss(kRowwiseLosses, term.loss);
  if (loss && check_parameter_count(*loss, term.parameter_count)) return -1;
  if (loss && loss->can_fuse && loss->sparse == bool(call.sparse)) return 0;
  return fail(
      "loss '%s' cannot be computed in one pass with '%s': after a softmax, expected a rowwise "
      "loss from logits with %s labels",
      term.loss, call.loss, call.sparse ? "class" : "dense");
}

int check_fused_element(const fastloss_overlap& call, const fastloss_term& term) {
  const ElementwiseLoss* const loss = find_loss(kElementwiseLosses, term.loss);
  if (loss && check_parameter_count(*loss, term.parameter_count)) return -1;
  if (loss && !by_position(call) && !loss->needs_all_labels) return 0;
  return fail(
      "loss '%s' cannot be computed in one pass with '%s': expected an elementwise loss that takes "
      "its labels as they are, and dense labels without ignore_class",
      term.loss, call.loss);
}

}  // namespace

int check_overlap_backward(const fastloss_overlap& call) {
  if (check_loss(kOverlapLosses, "overlap losses", call.loss, call.parameter_count)) return -1;
  const OverlapLoss* const loss = find_loss(kOverlapLosses, call.loss);
  if (checked_product({{"outer", call.outer},
                       {"above", call.above},
                       {"classes", call.classes},
                       {"inner", call.inner}}) < 0 ||
      check_common(call, call.outer * (call.classes - (call.skip_background && call.classes))))
    return -1;
  if (call.activation < FASTLOSS_IDENTITY || call.activation > FASTLOSS_SOFTMAX)
    return fail("activation code %d is unknown", call.activation);
  if (loss->together && call.per_class)
    return fail("loss '%s' is of all classes together; per_class must be 0", call.loss);
  if (call.class_weight && !call.per_class && !loss->together)
    return fail("class_weight needs a loss for each class; expected per_class to be 1");
  if (call.fused_term_count && (call.weight || call.reduction == FASTLOSS_NONE ||
                                call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT))
    return fail("fused_terms have no weights; expected the reduction to a plain sum or mean");
  const auto check_fused =
      call.activation == FASTLOSS_SOFTMAX ? check_fused_row : check_fused_element;
  for (int32_t i = 0; i < call.fused_term_count; ++i)
    if (check_fused(call, call.fused_terms[i])) return -1;
  return 0;
}

int check_overlap_forward(const fastloss_overlap& call, const void* gradient) {
  if (check_overlap_backward(call)) return -1;
  if (gradient && call.reduction == FASTLOSS_NONE)
    return fail("a loss per group has no gradient of its own: call fastloss_overlap_backward");
  return 0;
}

}  // namespace fastloss
