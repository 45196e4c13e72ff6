// Compiled once per instruction set, under the rules of vector.h.
#include "cpu/kernels/softmax.h"

#include "cpu/kernels/row_lanes.h"
#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {

namespace {

template <bool kInterleaved, class T>
void first_reaching_lanes(const T* __restrict x, int64_t size, const Lanes<T>& bound,
                          int32_t* __restrict steps) {
  for (int64_t k = 0; k < kWidth; ++k) steps[k] = int32_t(size / kWidth);
  for (int64_t i = size; (i -= kWidth) >= 0;)
    for (int64_t k = 0; k < kWidth; ++k)
      steps[k] = x[i + k] >= at<kInterleaved>(bound, k) ? int32_t(i / kWidth) : steps[k];
}

// Into the first cache what is needed next, and into the second what is needed after that: from
// memory more lines must be on their way than the first one can wait for.
FASTLOSS_INLINE void fetch(uintptr_t line) {
  constexpr uintptr_t kFar = 8192;
  __builtin_prefetch(reinterpret_cast<const void*>(line));
  __builtin_prefetch(reinterpret_cast<const void*>(line + kFar), 0, 2);
}

template <bool kInterleaved, class T>
void exp_lanes(const T* __restrict x, int64_t size, const Lanes<T>& reference, T* __restrict exps,
               Lanes<T>* sum, uintptr_t ahead, uintptr_t beside) {
  constexpr int64_t kLine = 64;
  for (int64_t begin = 0; begin < size; begin += kSteps) {
    const int64_t end = begin + kSteps < size ? begin + kSteps : size;
    Lanes<T> some;
    clear(&some);
    for (int64_t i = begin; i < end; i += kWidth) {
      for (int64_t line = 0; line < kWidth * int64_t(sizeof(T)); line += kLine)
        fetch(ahead + uintptr_t(i * int64_t(sizeof(T)) + line));
      if (beside)
        for (int64_t line = 0; line < kWidth * int64_t(sizeof(T)); line += kLine)
          __builtin_prefetch(
              reinterpret_cast<const void*>(beside + uintptr_t(i * int64_t(sizeof(T)) + line)));
      for (int64_t k = 0; k < kWidth; ++k) {
        const T e = detail::exp_flushed(x[i + k] - at<kInterleaved>(reference, k));
        exps[i + k] = e;
        some.lane[k] += e;
      }
    }
    for (int64_t k = 0; k < kWidth; ++k) sum->lane[k] += some.lane[k];
  }
}

// By halves, which vectorise.
template <int kCount, class T, class Combine>
FASTLOSS_INLINE T fold(const T* x, const Combine& combine) {
  if constexpr (kCount == 1) {
    return x[0];
  } else {
    constexpr int kHalf = kCount / 2;
    alignas(64) T half[kHalf];
    for (int k = 0; k < kHalf; ++k) half[k] = combine(x[k], x[k + kHalf]);
    return fold<kHalf>(half, combine);
  }
}

}  // namespace

template <class T>
void maxima(const T* __restrict x, int64_t size, Lanes<T>* maximum) {
  Lanes<T> best;
  for (int64_t k = 0; k < kWidth; ++k) best.lane[k] = maximum->lane[k];
  for (int64_t i = 0; i < size; i += kWidth)
    for (int64_t k = 0; k < kWidth; ++k)
      best.lane[k] = x[i + k] > best.lane[k] ? x[i + k] : best.lane[k];
  for (int64_t k = 0; k < kWidth; ++k) maximum->lane[k] = best.lane[k];
}

template <class T>
void first_reaching(const T* x, int64_t size, const Lanes<T>& bound, bool interleaved,
                    int32_t* steps) {
  interleaved ? first_reaching_lanes<true>(x, size, bound, steps)
              : first_reaching_lanes<false>(x, size, bound, steps);
}

template <class T>
void exps(const T* x, int64_t size, const Lanes<T>& reference, bool interleaved, T* out,
          Lanes<T>* sum, uintptr_t ahead, uintptr_t beside) {
  interleaved ? exp_lanes<true>(x, size, reference, out, sum, ahead, beside)
              : exp_lanes<false>(x, size, reference, out, sum, ahead, beside);
}

template <class T>
void log_lanes(const Lanes<T>& x, Lanes<T>* out) {
  for (int64_t k = 0; k < kWidth; ++k) out->lane[k] = log(x.lane[k]);
}

template <class T>
T sum_of_lanes(const Lanes<T>& x) {
  return fold<kRowLanes>(x.lane, [](T a, T b) { return a + b; });
}

template <class T>
T maximum_of_lanes(const Lanes<T>& x) {
  return fold<kRowLanes>(x.lane, [](T a, T b) { return a > b ? a : b; });
}

template <class T>
void scale_logits(const T* x, int64_t size, T cap, T factor, T* __restrict z, T* __restrict slope) {
  if (cap == 0) {
    for (int64_t i = 0; i < (size & -kWidth); ++i) z[i] = x[i] * factor;
    return;
  }
  const T inverse = T(1) / cap, height = cap * factor;
  for (int64_t i = 0; i < (size & -kWidth); ++i) z[i] = tanh(x[i] * inverse);
  if (slope)
    for (int64_t i = 0; i < (size & -kWidth); ++i) slope[i] = (T(1) - z[i]) * (T(1) + z[i]);
  for (int64_t i = 0; i < (size & -kWidth); ++i) z[i] *= height;
}

template void maxima(const float*, int64_t, Lanes<float>*);
template void first_reaching(const float*, int64_t, const Lanes<float>&, bool, int32_t*);
template void exps(const float*, int64_t, const Lanes<float>&, bool, float*, Lanes<float>*,
                   uintptr_t, uintptr_t);
template void log_lanes(const Lanes<float>&, Lanes<float>*);
template float sum_of_lanes(const Lanes<float>&);
template float maximum_of_lanes(const Lanes<float>&);
template void scale_logits(const float*, int64_t, float, float, float*, float*);
template void maxima(const double*, int64_t, Lanes<double>*);
template void first_reaching(const double*, int64_t, const Lanes<double>&, bool, int32_t*);
template void exps(const double*, int64_t, const Lanes<double>&, bool, double*, Lanes<double>*,
                   uintptr_t, uintptr_t);
template void log_lanes(const Lanes<double>&, Lanes<double>*);
template double sum_of_lanes(const Lanes<double>&);
template double maximum_of_lanes(const Lanes<double>&);
template void scale_logits(const double*, int64_t, double, double, double*, double*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
