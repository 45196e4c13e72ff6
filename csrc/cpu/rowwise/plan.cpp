#include "cpu/rowwise/plan.h"

namespace fastloss {
namespace {

// Rows of fewer classes are interleaved.
constexpr int64_t kShortRow = 256;

template <class T>
RowMatrix<T> matrix_of(const fastloss_rowwise& call, const Matrix& matrix,
                       Normalization normalization, T pad, double logit_softcap) {
  const bool scales =
      normalization == Normalization::softmax && (call.temperature != 1 || call.logit_softcap != 0);
  return {matrix, normalization, pad, scales, T(logit_softcap), T(1 / call.temperature)};
}

template <class T>
RowStrategy strategy_of(const RowwisePlan<T>& plan) {
  if (plan.call.inner != 1 || plan.call.classes < kShortRow) return RowStrategy::interleaved;
  return plan.at_label && plan.loops.prediction == Normalization::none ? RowStrategy::label_only
                                                                       : RowStrategy::contiguous;
}

}  // namespace

template <class T>
RowwisePlan<T>::RowwisePlan(const fastloss_rowwise& call, const Isa& isa)
    : call(call),
      ops(isa.ops<T>()),
      row_ops(isa.row_ops<T>()),
      loops(row_ops.find(call.loss, call.parameters)),
      combine_sums(isa.row_ops<double>().find(call.loss, call.parameters).dense.combine_two),
      rows(call.outer * call.inner),
      sparse(find_loss(kRowwiseLosses, call.loss)->sparse),
      at_label(loops.sparse.at_label && call.label_smoothing == 0),
      prediction(matrix_of(call, {call.y_pred, call.y_pred_dtype}, loops.prediction,
                           loops.dense.pad_prediction, call.logit_softcap)),
      label(
          matrix_of(call, {call.y_true, call.y_true_dtype}, loops.label, loops.dense.pad_label, 0)),
      caps_logits(prediction.normalization == Normalization::softmax && call.logit_softcap != 0),
      class_weight(static_cast<const T*>(call.class_weight)),
      weight(weights_of<T>(call)),
      interleaved_rows(call.classes, call.inner, isa),
      strategy(strategy_of(*this)) {}

template <class T>
int64_t RowwisePlan<T>::rows_per_piece() const {
  const int64_t rows = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, call.classes));
  if (strategy != RowStrategy::interleaved) return rows;
  return std::max<int64_t>(kRowLanes, rows / kRowLanes * kRowLanes);
}

template struct RowwisePlan<float>;
template struct RowwisePlan<double>;

}  // namespace fastloss
