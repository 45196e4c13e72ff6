#include "cpu/overlap/plan.h"

namespace fastloss {

template <class T>
OverlapPlan<T>::OverlapPlan(const fastloss_overlap& call, const Isa& isa)
    : call(call),
      ops(isa.ops<T>()),
      row_ops(isa.row_ops<T>()),
      overlap_ops(isa.overlap_ops<T>()),
      layout(call),
      label(call.y_true, call.y_true_dtype),
      prediction(call.y_pred, call.y_pred_dtype),
      rows(call.classes, call.inner, isa) {
  for (int32_t i = 0; i < call.fused_term_count; ++i) {
    const fastloss_term& term = call.fused_terms[i];
    FusedTerm<T> fused_term = {term.parameters, nullptr, {}};
    if (layout.interleaved)
      fused_term.rowwise = row_ops.find(term.loss, term.parameters);
    else
      fused_term.elementwise = ops.find(term.loss, term.parameters).any;
    fused_terms.push_back(fused_term);
  }
}

template struct OverlapPlan<float>;
template struct OverlapPlan<double>;

}  // namespace fastloss
