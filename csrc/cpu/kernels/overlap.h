// The inner loops of the overlap losses. Most run over repeats of a period, a multiple of
// kRowLanes, within which each element has its class; all counts are whole vectors of kRowLanes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cpu/kernels/lanes.h"

namespace fastloss {

// Labels that are 0 or 1, a bit each: kRowLanes neighbouring elements have the same bit of
// kRowLanes words, the next ones the next bit.
template <class T>
struct LabelBits {
  using Word = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  static constexpr int64_t kBits = 8 * sizeof(Word);
  static constexpr int64_t words(int64_t elements) {
    return (elements + kRowLanes * kBits - 1) / (kRowLanes * kBits) * kRowLanes;
  }
};

// The derivatives of the loss by the sums of an element's class, for each element of a period.
template <class T>
struct SumDerivatives {
  const T *by_intersection, *by_prediction;
};

template <class T>
struct OverlapOps {
  // exp_neg_abs = exp(-|x|), p = sigmoid(x)
  void (*sigmoid)(const T* x, int64_t count, T* exp_neg_abs, T* p);
  // p = exps * factor, with a factor for each of the interleaved rows.
  void (*softmax)(const T* exps, int64_t count, const Lanes<T>& factor, T* p);
  // sums, (3, period), += {label * p, p, label}, with squares of the last two if `squared`. Without
  // labels the middle ones alone.
  void (*accumulate)(const T* label, const T* p, int64_t period, int64_t repeats, bool squared,
                     T* sums);
  // gradient = by_intersection * label + by_prediction, the latter times 2 p if `squared`.
  void (*gradient)(const T* label, const T* p, int64_t period, int64_t repeats,
                   const SumDerivatives<T>& loss, bool squared, T* gradient);
  // Likewise of packed labels, from the element `begin` on.
  void (*gradient_of_packed)(const typename LabelBits<T>::Word* bits, int64_t begin, const T* p,
                             int64_t period, int64_t repeats, const SumDerivatives<T>& loss,
                             bool squared, T* gradient);
  // From the gradient by p to that by the logits. For a softmax, of interleaved rows, `extra` is
  // added to the derivative by each p of a row.
  void (*sigmoid_backward)(const T* p, int64_t count, T* gradient);
  void (*softmax_backward)(const T* p, int64_t count, const Lanes<T>& extra, T* gradient);
  // Labels are packed in order, here from the element `begin` on. False if one is neither 0 nor 1.
  bool (*pack)(const T* label, int64_t begin, int64_t count, typename LabelBits<T>::Word* bits);
  void (*unpack)(const typename LabelBits<T>::Word* bits, int64_t begin, int64_t count, T* label);
  void (*add)(const T* x, int64_t count, T* in_out);
};

}  // namespace fastloss
