// What is known of a call before any of its arrays is read.
#pragma once

#include "api/rowwise_call.h"
#include "cpu/kernels/isa.h"
#include "cpu/kernels/rowwise.h"
#include "cpu/rowwise/interleave.h"
#include "cpu/runtime/broadcast_weights.h"

namespace fastloss {

enum class RowStrategy {
  label_only,   // long rows of which the loss sees the label's class alone: the lanes are rows
  contiguous,   // long rows: the lanes are classes
  interleaved,  // short rows, and rows whose classes are strided: the lanes are rows
};

// The labels, or the predictions.
template <class T>
struct RowMatrix : Matrix {
  Normalization normalization;
  T pad;               // fills a row up to whole vectors without a trace in its sums
  bool scales_logits;  // to cap * tanh(logit / cap) / temperature
  T logit_softcap;     // 0 for none
  T inverse_temperature;

  // The same numbers as they came.
  RowMatrix raw() const {
    RowMatrix matrix = *this;
    matrix.normalization = Normalization::none;
    matrix.scales_logits = false;
    return matrix;
  }
};

template <class T>
struct RowwisePlan {
  RowwisePlan(const fastloss_rowwise& call, const Isa& isa);

  const fastloss_rowwise& call;
  const TileOps<T>& ops;
  const RowOps<T>& row_ops;
  const RowLoops<T> loops;
  // Joins the sums of two chunks.
  void (*const combine_sums)(const double* x, double* sum);
  const int64_t rows;
  const bool sparse;    // a label is a class
  const bool at_label;  // the loss is that of the label's class
  const RowMatrix<T> prediction, label;
  const bool caps_logits;
  const T* const class_weight;
  const BroadcastWeights<T> weight;
  const InterleavedRows<T> interleaved_rows;  // of either matrix
  const RowStrategy strategy;

  // Whole blocks of kRowLanes rows, where rows are interleaved.
  int64_t rows_per_piece() const;

  // Into `z`; `slope` is what a gradient by z is multiplied by for one by x, if a cap makes it
  // other than constant and `slope` is not null.
  void scale_logits(const RowMatrix<T>& matrix, const T* x, int64_t size, T* z, T* slope) const {
    row_ops.scale_logits(x, size, matrix.logit_softcap, matrix.inverse_temperature, z,
                         matrix.logit_softcap != 0 ? slope : nullptr);
  }
  T class_weight_of(int64_t label) const { return class_weight ? class_weight[label] : T(1); }
  // Whether labels are not taken as they came.
  bool changes_labels() const { return call.label_smoothing != 0 || class_weight; }

  // The derivative of z_loss * log_sum_exp^2.
  T z_loss_slope(double log_sum_exp) const { return T(2 * call.z_loss * log_sum_exp); }
};

extern template struct RowwisePlan<float>;
extern template struct RowwisePlan<double>;

}  // namespace fastloss
