// What the classes of a row add up to: each thread's own part, and two parts joined.
#pragma once

#include "losses/rowwise.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// The larger of a number and one that is not NaN; of NaN, the other.
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

// The largest of some logits, and the sum of exp(logit - largest); of nothing, -infinity and 0.
template <class T>
struct Online {
  T largest, sum;

  // Which of both comes first does not matter, to the last bit.
  static FASTLOSS_INLINE Online combine(Online x, Online y) {
    const bool other = y.largest > x.largest;
    const T high = other ? y.largest : x.largest, low = other ? x.largest : y.largest;
    // Of equals, infinities too, the difference is not asked for.
    const T factor = low == high ? T(1) : detail::exp_flushed(low - high);
    return {high, (other ? y.sum : x.sum) + (other ? x.sum : y.sum) * factor};
  }
};

// One thread's logits. A long row is not one long chain of additions in T.
template <class T>
struct OnlineSum {
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
    T some = 0;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) some += detail::exp_flushed(x[i] - reference);
    sum += double(some);
  }
  FASTLOSS_INLINE Online<T> result() const { return {largest, T(sum)}; }
};

// Turns a class of a row into its share, as RowShares on the CPU.
template <class T>
struct Normal {
  T factor, shift, log_sum, sum;

  static FASTLOSS_INLINE Normal of_logits(Online<T> row) {
    return {T(1) / row.sum, or_zero(row.largest), log(row.sum), row.sum};
  }
  static FASTLOSS_INLINE Normal of_probabilities(T sum) { return {T(1) / sum, T(0), T(0), sum}; }

  FASTLOSS_INLINE ClassProbability<T> of_logit(T x) const {
    return {detail::exp_flushed(x - shift) * factor, (x - shift) - log_sum};
  }
};

// The first of the largest numbers; `place` behind all for nothing.
template <class T>
struct Largest {
  int64_t place;
  T value;

  static FASTLOSS_INLINE Largest combine(Largest x, Largest y) {
    return y.value > x.value || (y.value == x.value && y.place < x.place) ? y : x;
  }

  // The first `count` of some numbers; place_of(i) is that of number i.
  template <int kWidth, class PlaceOf>
  FASTLOSS_INLINE void add(const T (&x)[kWidth], int count, const PlaceOf& place_of) {
    T top = -Format<T>::kInfinity;
    int first = kWidth;
    FASTLOSS_UNROLL
    for (int i = kWidth - 1; i >= 0; --i) {
      const bool reaches = i < count && x[i] >= top;
      top = reaches ? x[i] : top;
      first = reaches ? i : first;
    }
    if (first < kWidth) *this = combine(*this, {place_of(first), top});
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
