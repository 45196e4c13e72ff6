// What every elementwise kernel is told, and what each does with one tile.
#pragma once

#include <type_traits>

#include "cuda/common/broadcast_weights.h"
#include "cuda/common/dtypes.h"
#include "cuda/common/reduce.h"
#include "losses/elementwise.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Of a loss that asks whether all labels are 0 or 1: reading them all first would cost a walk. So
// the first labels decide, and a second walk, which is over at once where they were right, mends
// the result where a later label proves them wrong.
struct Guess {
  int32_t binary, violated;
};

template <class T>
struct ElementwiseWalk {
  int64_t elements;
  Pieces pieces;
  Rows rows;
  int32_t y_true_dtype, y_true_size, y_pred_dtype, y_pred_size;
  const void* y_true;
  const void* y_pred;
  void* gradient;            // or null
  Cycle<T> weight, column;   // or without data
  Cycle<T> upstream_of_row;  // likewise
  const T* upstream;         // of a scalar loss, or null
  // What sums are multiplied by, beside a term's own factor: 1 / divisor, 0 for a divisor of 0.
  double inverse;
  const double* inverse_at;  // where that is known on the device only, or null
  double* partials;          // one for each term of each piece, or null
  Guess* guess;              // or null
  bool again;                // the second walk

  __device__ __forceinline__ double reduction(double of_term) const {
    const double from_divisor = inverse_at ? *inverse_at : inverse;
    return from_divisor == 0 ? 0 : of_term * from_divisor;
  }
  // What slopes are multiplied by.
  __device__ __forceinline__ T scale(double of_term) const {
    const T from_upstream = upstream ? *upstream : T(1);
    return T(reduction(of_term)) * from_upstream;
  }
  // Whether there is anything to do for this walk, and what it takes labels for.
  __device__ __forceinline__ bool begins(bool* binary) const {
    *binary = guess && !again && guess->binary;
    return !guess || !again || guess->violated;
  }
};

template <class Loss, class = void>
struct asks_binary : std::false_type {};
template <class Loss>
struct asks_binary<Loss, decltype(void(&Loss::binary))> : std::true_type {};

// What labels are is no parameter of the caller's, and is not known yet.
template <class Loss>
Loss functor_of(const double* parameters) {
  const double unknown = 0;
  return Loss(asks_binary<Loss>::value ? &unknown : parameters);
}

template <class Loss, class = void>
struct is_split : std::false_type {};
template <class Loss>
struct is_split<Loss, decltype(void(&Loss::prepare))> : std::true_type {};

template <class Loss, class T>
FASTLOSS_INLINE Point<T> evaluate(const Loss& loss, T label, T prediction, T column) {
  if constexpr (is_split<Loss>::value)
    return loss(label, prediction, column, loss.prepare(label, prediction));
  else
    return loss(label, prediction, column);
}

// The labels and predictions of one thread in one tile.
template <class T, class Layout>
struct Inputs {
  static constexpr int kCount = Layout::kOfThread;
  int64_t first[Layout::kVectors];
  T label[kCount], prediction[kCount];

  // kSize is that of a prediction; 0 for any. Of the tile at `at`, elements in [begin, end) count.
  template <int kSize>
  __device__ __forceinline__ void load(const ElementwiseWalk<T>& walk, int64_t at, int64_t begin,
                                       int64_t end) {
    RawVectors<Layout::kVectors, Layout::kWidth> labels, predictions;
    FASTLOSS_UNROLL
    for (int v = 0; v < Layout::kVectors; ++v)
      first[v] = at + Layout::first(static_cast<int>(threadIdx.x), v);
    // Both are under way before either is looked at.
    if constexpr (kSize)
      predictions.template load_of_size<kSize>(walk.y_pred, first, begin, end);
    else
      predictions.load_any(walk.y_pred_size, walk.y_pred, first, begin, end);
    labels.load_any(walk.y_true_size, walk.y_true, first, begin, end);
    if constexpr (kSize)
      Predictions<kSize>::widen(predictions, walk.y_pred_dtype, prediction);
    else
      predictions.widen_any(walk.y_pred_dtype, prediction);
    labels.widen_any(walk.y_true_dtype, label);
  }

  // Says so where labels that were taken for 0 and 1 are not.
  __device__ __forceinline__ void check_binary(const ElementwiseWalk<T>& walk, int64_t begin,
                                               int64_t end) const {
    bool others = false;
    FASTLOSS_UNROLL
    for (int i = 0; i < kCount; ++i)
      others |= counts(i, begin, end) & !(label[i] == T(0) || label[i] == T(1));
    if (others) walk.guess->violated = 1;
  }

  __device__ __forceinline__ bool counts(int i, int64_t begin, int64_t end) const {
    const int64_t element = first[i / Layout::kWidth] + i % Layout::kWidth;
    return (element >= begin) & (element < end);
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
