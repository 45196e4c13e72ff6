// The parameters of the rowwise kernels, and what they know of a row before they read its classes.
#pragma once

#include "cuda/common/broadcast_weights.h"
#include "cuda/common/class_label.h"
#include "cuda/common/divisor.h"
#include "cuda/common/dtypes.h"
#include "cuda/rowwise/tagged_row_loss.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// The classes of a row that one thread processes as a vector: first, first + 2^shift, ...
struct ClassSlice {
  int64_t first;
  int count;  // of those that the row has
  int shift;

  FASTLOSS_INLINE int64_t at(int i) const { return first + (static_cast<int64_t>(i) << shift); }
  // The position of a class in the slice, or -1.
  FASTLOSS_INLINE int index_of(int64_t c) const {
    const int64_t distance = c - first;
    const bool between = distance & ((int64_t(1) << shift) - 1);
    return distance < 0 || between || distance >> shift >= count
               ? -1
               : static_cast<int>(distance >> shift);
  }
};

template <class T>
struct RowTask {
  int64_t row, label;  // label: the class, or 0 where there is none
  bool skips;          // the row is ignored, or its label is not a class
  T fill;              // loss and gradient of a row that is skipped
  T weight, scale;     // of the loss, of the gradient
};

template <class T>
struct RowPass {
  int64_t rows, classes;
  Divider inner;
  Pieces pieces;  // of rows
  int32_t y_true_dtype, y_true_size, y_pred_dtype;
  bool sparse;
  const void* y_true;
  const void* y_pred;
  void* gradient;              // or null
  T* loss;                     // of each row, or null
  T* log_sum_exp;              // of each row, or null
  uint8_t* hit;                // of each row, or null
  double* partials;            // of the pieces, or null
  BroadcastWeights<T> weight;  // of rows, or without data
  const T* class_weight;       // or null
  const T* upstream;           // or null
  bool upstream_of_row;        // upstream has a number for each row
  Inverse inverse;             // of the reduction's divisor
  bool has_ignore_class;
  int64_t ignore_class;
  const uint8_t* ignored;      // whether rows of labels are ignored
  bool transforms_labels;      // label smoothing or class weights
  T label_scale, label_shift;  // of label smoothing
  bool scales_logits, scales_label_logits;
  T inverse_temperature;
  T inverse_cap, scaled_cap;  // 1 / logit_softcap and logit_softcap / temperature, or 0
  T inverse_scaled_cap, z_loss;
  TaggedRowLoss<T> functor;

  // What the derivatives of all rows are multiplied by.
  __device__ __forceinline__ T scale() const {
    T scale = T(inverse.value());
    if (upstream && !upstream_of_row) scale *= *upstream;
    return scales_logits || functor.label == Normalization::softmax ? scale * inverse_temperature
                                                                    : scale;
  }

  __device__ __forceinline__ bool is_ignored(int64_t row) const {
    if (!has_ignore_class) return false;
    return sparse ? class_label(y_true_dtype, y_true, row) == ignore_class : ignored[row] != 0;
  }

  __device__ __forceinline__ RowTask<T> task(int64_t row, T scale) const {
    RowTask<T> task = {row, 0, false, T(0), T(1), T(0)};
    if (sparse) {
      task.label = class_label(y_true_dtype, y_true, row);
      const bool is_ignored = has_ignore_class && task.label == ignore_class;
      const bool is_class = task.label >= 0 && task.label < classes;
      task.skips = is_ignored || !is_class;
      if (task.skips) task.label = 0;
      if (!is_ignored && !is_class) task.fill = Format<T>::kNan;
    } else if (has_ignore_class) {
      task.skips = ignored[row] != 0;
    }
    if (weight.data) weight.template multiply<1>(row, &task.weight);
    task.scale = scale * task.weight;
    if (upstream_of_row) task.scale *= upstream[row];
    return task;
  }

  // The element of a row's first class; its classes are `inner` elements apart.
  __device__ __forceinline__ int64_t offset(int64_t row) const {
    const int64_t outer = inner(row);
    return outer * (classes - 1) * inner.divisor() + row;
  }

  // Applies temperature and soft cap.
  __device__ __forceinline__ T scale_logit(T x) const {
    return scaled_cap == 0 ? x * inverse_temperature : tanh(x * inverse_cap) * scaled_cap;
  }
  // The derivative of cap tanh(x / cap), by the result of scale_logit().
  __device__ __forceinline__ T cap_gradient(T z) const {
    const T fraction = z * inverse_scaled_cap;
    return (T(1) - fraction) * (T(1) + fraction);
  }

  // Transforms predictions for the loss, and fills up the vector without effect on a softmax.
  template <int kWidth>
  __device__ __forceinline__ void prepare_predictions(const ClassSlice& slice,
                                                      T (&x)[kWidth]) const {
    if (scales_logits) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) x[i] = scale_logit(x[i]);
    }
    if (slice.count == kWidth) return;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i >= slice.count) x[i] = -Format<T>::kInfinity;
  }

  // Transforms labels for the loss; sparse ones become one-hot.
  template <int kWidth>
  __device__ __forceinline__ void prepare_labels(const RowTask<T>& task, const ClassSlice& slice,
                                                 T (&y)[kWidth]) const {
    if (sparse) {
      const int index = slice.index_of(task.label);
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = i == index ? T(1) : T(0);
    }
    if (transforms_labels) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = label_scale * y[i] + label_shift;
      if (class_weight) {
        FASTLOSS_UNROLL
        for (int i = 0; i < kWidth; ++i)
          if (i < slice.count) y[i] *= class_weight[slice.at(i)];
      }
    }
    const bool logits = functor.label == Normalization::softmax;
    if (scales_label_logits) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] *= inverse_temperature;
    }
    if (slice.count == kWidth) return;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i >= slice.count) y[i] = logits ? -Format<T>::kInfinity : T(0);
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
