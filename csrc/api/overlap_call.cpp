#include "api/overlap_call.h"

#include "api/elementwise_call.h"

namespace fastloss {
namespace {

struct FusableRow : LossEntry {
  bool sparse, can_fuse;
};

#define FASTLOSS_SPARSE_dense false
#define FASTLOSS_SPARSE_sparse true
#define FASTLOSS_ENTRY(NAME, LABELS, ...) \
  {{#NAME, #__VA_ARGS__},                 \
   FASTLOSS_SPARSE_##LABELS,              \
   FASTLOSS_ISA::kCanFuse<FASTLOSS_ISA::NAME<float>, FASTLOSS_SPARSE_##LABELS>},
constexpr FusableRow kFusableRows[] = {FASTLOSS_ROWWISE_LOSSES(FASTLOSS_ENTRY)};
#undef FASTLOSS_ENTRY

int check_fused_term(const fastloss_overlap& call, const fastloss_term& term) {
  const bool rows = call.activation == FASTLOSS_SOFTMAX;
  const FusableRow* const row = find_loss(kFusableRows, term.loss);
  const ElementwiseLoss* const element = find_loss(kElementwiseLosses, term.loss);
  const LossEntry* const entry = rows ? static_cast<const LossEntry*>(row) : element;
  if (entry && entry->parameter_count() != term.parameter_count)
    return fail("loss '%s' takes %d parameters (%s), not %d", term.loss, entry->parameter_count(),
                entry->parameters, term.parameter_count);
  if (rows) {
    if (row && row->can_fuse && row->sparse == bool(call.sparse)) return 0;
    return fail(
        "loss '%s' cannot share a walk with '%s': after a softmax, expected a rowwise loss from "
        "logits with %s labels",
        term.loss, call.loss, call.sparse ? "class" : "dense");
  }
  if (element && !by_position(call) && !element->binary) return 0;
  return fail(
      "loss '%s' cannot share a walk with '%s': expected an elementwise loss that takes its labels "
      "as they are, and dense labels without ignore_class",
      term.loss, call.loss);
}

}  // namespace

int check_overlap_backward(const fastloss_overlap& call) {
  if (check_loss(kOverlapLosses, "overlap losses", call.loss, call.parameter_count) ||
      check_codes(call))
    return -1;
  const OverlapLoss* const loss = find_loss(kOverlapLosses, call.loss);
  if (call.outer < 0 || call.above < 0 || call.classes < 0 || call.inner < 0 || call.replicas < 1)
    return fail(
        "outer %lld, above %lld, classes %lld and inner %lld must not be negative and replicas %d "
        "must be positive",
        static_cast<long long>(call.outer), static_cast<long long>(call.above),
        static_cast<long long>(call.classes), static_cast<long long>(call.inner), call.replicas);
  if (call.activation < FASTLOSS_IDENTITY || call.activation > FASTLOSS_SOFTMAX)
    return fail("activation code %d is unknown", call.activation);
  if (loss->together && call.per_class)
    return fail("loss '%s' is of all classes together; per_class must be 0", call.loss);
  if (call.class_weight && !call.per_class && !loss->together)
    return fail("class_weight needs a loss for each class; expected per_class to be 1");
  if (call.fused_term_count && (call.weight || call.reduction == FASTLOSS_NONE ||
                                call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT))
    return fail("fused_terms have no weights; expected the reduction to a plain sum or mean");
  for (int32_t i = 0; i < call.fused_term_count; ++i)
    if (check_fused_term(call, call.fused_terms[i])) return -1;
  return 0;
}

int check_overlap_forward(const fastloss_overlap& call, const void* gradient) {
  if (check_overlap_backward(call)) return -1;
  if (gradient && call.reduction == FASTLOSS_NONE)
    return fail("a loss per group has no gradient of its own: call fastloss_overlap_backward");
  return 0;
}

}  // namespace fastloss
