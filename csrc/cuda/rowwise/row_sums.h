// What the classes of a row add up to: the part of each thread, and how two parts are combined.
#pragma once

#include "losses/rowwise.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// The larger of x and y, where y is not NaN; y if x is.
FASTLOSS_INLINE float larger(float x, float y) {
#ifdef __CUDA_ARCH__
  return fmaxf(x, y);
#else
  return x > y ? x : y;
#endif
}
FASTLOSS_INLINE double larger(double x, double y) {
#ifdef __CUDA_ARCH__
  return ::fmax(x, y);
#else
  return x > y ? x : y;
#endif
}

template <class T>
FASTLOSS_INLINE T or_zero(T x) {
  return x == -Format<T>::kInfinity ? T(0) : x;
}

// The largest of some logits, and the sum of exp(logit - largest); -infinity and 0 for no logits.
template <class T>
struct SoftmaxSums {
  T largest, sum;

  // Commutative to the bit, as combine_lanes requires.
  static FASTLOSS_INLINE SoftmaxSums combine(SoftmaxSums x, SoftmaxSums y) {
    const bool other = y.largest > x.largest;
    const T high = other ? y.largest : x.largest, low = other ? x.largest : y.largest;
    // The difference of equal infinities would be NaN.
    const T factor = low == high ? T(1) : detail::exp_flushed(low - high);
    return {high, (other ? y.sum : x.sum) + (other ? x.sum : y.sum) * factor};
  }
};

// Adds up the logits of one thread. Sums of vectors are added in double, as rounding errors in T
// would grow with the length of the row.
template <class T>
struct SoftmaxAccumulator {
  T largest = -Format<T>::kInfinity;
  double sum = 0;

  template <int kWidth>
  FASTLOSS_INLINE void add(const T (&x)[kWidth]) {
    T top = largest;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) top = larger(x[i], top);
    if (top > largest) {
      sum *= double(detail::exp_flushed(largest - top));
      largest = top;
    }
    const T reference = or_zero(largest);
    T vector_sum = 0;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) vector_sum += detail::exp_flushed(x[i] - reference);
    sum += double(vector_sum);
  }
  FASTLOSS_INLINE SoftmaxSums<T> result() const { return {largest, T(sum)}; }
};

// Turns a class of a row into its probability.
template <class T>
struct Normalizer {
  T factor, shift, log_sum, sum;

  static FASTLOSS_INLINE Normalizer of_logits(SoftmaxSums<T> row) {
    return {T(1) / row.sum, or_zero(row.largest), log(row.sum), row.sum};
  }
  static FASTLOSS_INLINE Normalizer of_probabilities(T sum) {
    return {T(1) / sum, T(0), T(0), sum};
  }

  FASTLOSS_INLINE ClassProbability<T> of_logit(T x) const {
    return {detail::exp_flushed(x - shift) * factor, (x - shift) - log_sum};
  }
};

// The first of the largest numbers; for no numbers, an index beyond all others.
template <class T>
struct Largest {
  int64_t index;
  T value;

  static FASTLOSS_INLINE Largest combine(Largest x, Largest y) {
    return y.value > x.value || (y.value == x.value && y.index < x.index) ? y : x;
  }

  // Considers the first `count` of some numbers; index_of(i) is the index of number i.
  template <int kWidth, class IndexOf>
  FASTLOSS_INLINE void add(const T (&x)[kWidth], int count, const IndexOf& index_of) {
    T top = -Format<T>::kInfinity;
    int first = kWidth;
    FASTLOSS_UNROLL
    for (int i = kWidth - 1; i >= 0; --i) {
      const bool reaches = i < count && x[i] >= top;
      top = reaches ? x[i] : top;
      first = reaches ? i : first;
    }
    if (first < kWidth) *this = combine(*this, {index_of(first), top});
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
