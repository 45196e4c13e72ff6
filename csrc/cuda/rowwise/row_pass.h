// What every rowwise kernel is told, and what is known of a row before its classes are looked at.
#pragma once

#include "cuda/common/broadcast_weights.h"
#include "cuda/common/class_label.h"
#include "cuda/common/dtypes.h"
#include "cuda/common/layout.h"
#include "cuda/rowwise/tagged_row_loss.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Some classes of a row, those that one thread has in hand together: first, first + 2^shift ...
struct Place {
  int64_t first;
  int count;  // how many of them the row has
  int shift;

  FASTLOSS_INLINE int64_t at(int i) const { return first + (static_cast<int64_t>(i) << shift); }
  // Which of them a class is; otherwise what is none.
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
  int64_t row, label;  // of a row without a label that counts: 0
  bool skips;          // ignored, or with a label that is no class
  T fill;              // what such a row has for its loss and gradient
  T weight, scale;     // of the loss, of the gradient
};

template <class T>
struct RowWalk {
  int64_t rows, classes;
  Divider inner;
  Pieces pieces;  // of rows
  int32_t y_true_dtype, y_true_size, y_pred_dtype;
  bool sparse;
  const void* y_true;
  const void* y_pred;
  void* gradient;            // or null
  T* loss;                   // of each row, or null
  T* log_sum_exp;            // likewise
  uint8_t* hit;              // likewise
  double* partials;          // of the pieces, or null
  Cycle<T> weight;           // or without data
  const T* class_weight;     // or null
  const T* upstream;         // or null
  bool upstream_of_row;      // one number for each row
  double inverse;            // 1 / divisor, 0 for a divisor of 0
  const double* inverse_at;  // where that is known on the device only, or null
  bool has_ignore_class;
  int64_t ignore_class;
  const uint8_t* ignored;  // of rows of labels
  bool smooths;            // labels are smoothed, or weighed
  T keep, shift;           // smoothed labels are keep * label + shift
  bool softens, softens_label;
  T softness;             // 1 / temperature
  T inverse_cap, height;  // of a cap: 1 / cap and cap / temperature; 0 for none
  T inverse_height, z_loss;
  BoxedRowLoss<T> functor;

  __device__ __forceinline__ double reduction() const { return inverse_at ? *inverse_at : inverse; }

  // What slopes are multiplied by, all rows alike.
  __device__ __forceinline__ T scale() const {
    T scale = T(reduction());
    if (upstream && !upstream_of_row) scale *= *upstream;
    return softens || functor.label == Normalization::softmax ? scale * softness : scale;
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

  // The first class of a row; those that follow are `inner` apart.
  __device__ __forceinline__ int64_t offset(int64_t row) const {
    const int64_t outer = inner(row);
    return outer * (classes - 1) * inner.divisor() + row;
  }

  // Logits as the loss sees them.
  __device__ __forceinline__ T soften(T x) const {
    return height == 0 ? x * softness : tanh(x * inverse_cap) * height;
  }
  // The derivative of cap tanh(x / cap), by what comes out of soften().
  __device__ __forceinline__ T cap_slope(T z) const {
    const T share = z * inverse_height;
    return (T(1) - share) * (T(1) + share);
  }

  // Raw predictions made ready; what is no class leaves no trace in a softmax.
  template <int kWidth>
  __device__ __forceinline__ void ready_predictions(const Place& place, T (&x)[kWidth]) const {
    if (softens) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) x[i] = soften(x[i]);
    }
    if (place.count == kWidth) return;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i >= place.count) x[i] = -Format<T>::kInfinity;
  }

  // Labels made ready: raw ones of rows, or those of a class.
  template <int kWidth>
  __device__ __forceinline__ void ready_labels(const RowTask<T>& task, const Place& place,
                                               T (&y)[kWidth]) const {
    if (sparse) {
      const int index = place.index_of(task.label);
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = i == index ? T(1) : T(0);
    }
    if (smooths) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = keep * y[i] + shift;
      if (class_weight) {
        FASTLOSS_UNROLL
        for (int i = 0; i < kWidth; ++i)
          if (i < place.count) y[i] *= class_weight[place.at(i)];
      }
    }
    const bool logits = functor.label == Normalization::softmax;
    if (softens_label) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] *= softness;
    }
    if (place.count == kWidth) return;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i >= place.count) y[i] = logits ? -Format<T>::kInfinity : T(0);
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
