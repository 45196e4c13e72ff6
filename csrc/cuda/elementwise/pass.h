// The parameters of the elementwise kernels, and the part that all of them share: loading a tile.
#pragma once

#include <type_traits>

#include "cuda/common/broadcast_weights.h"
#include "cuda/common/divisor.h"
#include "cuda/common/dtypes.h"
#include "cuda/common/reduce.h"
#include "losses/elementwise.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// For losses that depend on whether all labels are 0 or 1: finding out beforehand would take a pass
// over the labels. Instead the first labels are taken as representative, and a second pass, which
// ends at once where they were, corrects the result where they were not.
struct Guess {
  int32_t binary, violated;
};

template <class T>
struct ElementwisePass {
  int64_t elements;
  Pieces pieces;
  Rows rows;
  int32_t y_true_dtype, y_true_size, y_pred_dtype, y_pred_size;
  const void* y_true;
  const void* y_pred;
  void* gradient;                       // or null
  BroadcastWeights<T> weight, column;   // or without data
  BroadcastWeights<T> upstream_of_row;  // likewise
  const T* upstream;                    // of a scalar loss, or null
  Inverse inverse;                      // of the reduction's divisor
  double* partials;                     // (terms, pieces), or null
  Guess* guess;                         // or null
  bool corrects;                        // the second pass, after a guess

  // What the derivatives of a term are multiplied by.
  __device__ __forceinline__ T scale(double term_scale) const {
    const T from_upstream = upstream ? *upstream : T(1);
    return T(inverse(term_scale)) * from_upstream;
  }
  // Whether this pass has anything to do; sets whether it takes all labels for 0 or 1.
  __device__ __forceinline__ bool begins(bool* binary) const {
    *binary = guess && !corrects && guess->binary;
    return !guess || !corrects || guess->violated;
  }
};

template <class Loss, class = void>
struct asks_binary : std::false_type {};
template <class Loss>
struct asks_binary<Loss, decltype(void(&Loss::binary))> : std::true_type {};

// Whether labels are binary is no parameter of the call, and is only known on the device.
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

  // Loads the tile that begins at `at`, of which the elements in [begin, end) count. kSize is the
  // size of a prediction, or 0 for a size that the pass tells.
  template <int kSize>
  __device__ __forceinline__ void load(const ElementwisePass<T>& pass, int64_t at, int64_t begin,
                                       int64_t end) {
    RawVectors<Layout::kVectors, Layout::kWidth> labels, predictions;
    FASTLOSS_UNROLL
    for (int v = 0; v < Layout::kVectors; ++v)
      first[v] = at + Layout::first(static_cast<int>(threadIdx.x), v);
    // Both loads are issued before either result is used.
    if constexpr (kSize)
      predictions.template load_of_size<kSize>(pass.y_pred, first, begin, end);
    else
      predictions.load_any(pass.y_pred_size, pass.y_pred, first, begin, end);
    labels.load_any(pass.y_true_size, pass.y_true, first, begin, end);
    if constexpr (kSize)
      Predictions<kSize>::widen(predictions, pass.y_pred_dtype, prediction);
    else
      predictions.widen_any(pass.y_pred_dtype, prediction);
    labels.widen_any(pass.y_true_dtype, label);
  }

  // Records labels that contradict the guess.
  __device__ __forceinline__ void check_binary(const ElementwisePass<T>& pass, int64_t begin,
                                               int64_t end) const {
    bool others = false;
    FASTLOSS_UNROLL
    for (int i = 0; i < kCount; ++i)
      others |= counts(i, begin, end) & !(label[i] == T(0) || label[i] == T(1));
    if (others) pass.guess->violated = 1;
  }

  __device__ __forceinline__ bool counts(int i, int64_t begin, int64_t end) const {
    const int64_t element = first[i / Layout::kWidth] + i % Layout::kWidth;
    return (element >= begin) & (element < end);
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
