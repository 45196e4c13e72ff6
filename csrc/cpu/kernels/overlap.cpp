// Compiled once per instruction set, under the rules of tile.cpp.
#include "cpu/kernels/overlap.h"

#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int64_t kWidth = kRowLanes;

// kWidth elements some way behind `x`, which may lie beyond the end of its array: no pointer goes
// there, only an address.
template <class T>
FASTLOSS_INLINE void prefetch(const T* x) {
  constexpr uintptr_t kLine = 64, kAhead = 32 * kLine;
  const uintptr_t address = reinterpret_cast<uintptr_t>(x) + kAhead;
  for (uintptr_t line = 0; line < kWidth * sizeof(T); line += kLine)
    __builtin_prefetch(reinterpret_cast<const void*>(address + line));
}

template <class T>
void sigmoid_of(const T* __restrict x, int64_t count, T* __restrict exp_neg_abs_x,
                T* __restrict p) {
  for (int64_t i = 0; i < count; i += kWidth) {
    prefetch(x + i);
    for (int64_t k = 0; k < kWidth; ++k) exp_neg_abs_x[i + k] = exp_neg_abs(x[i + k]);
  }
  for (int64_t i = 0; i < (count & -kWidth); ++i) p[i] = sigmoid(x[i], exp_neg_abs_x[i]);
}

template <class T>
void softmax(const T* __restrict exps, int64_t count, const Lanes<T>& factor, T* __restrict p) {
  for (int64_t i = 0; i < count; i += kWidth)
    for (int64_t k = 0; k < kWidth; ++k) p[i + k] = exps[i + k] * factor.lane[k];
}

template <bool kLabels, bool kSquared, class T>
void accumulate_block(const T* __restrict label, const T* __restrict p, int64_t period,
                      int64_t repeats, T* __restrict sums) {
  // Column by column, so that the sums stay in registers.
  for (int64_t column = 0; column < period; column += kWidth) {
    Lanes<T> running[3];
    for (int64_t sum = 0; sum < 3; ++sum)
      for (int64_t k = 0; k < kWidth; ++k) running[sum].lane[k] = sums[sum * period + column + k];
    for (int64_t i = column; i < repeats * period; i += period) {
      prefetch(p + i);
      if constexpr (kLabels) prefetch(label + i);
      for (int64_t k = 0; k < kWidth; ++k) {
        const T x = p[i + k];
        running[1].lane[k] += kSquared ? x * x : x;
        if constexpr (kLabels) {
          const T y = label[i + k];
          running[0].lane[k] += y * x;
          running[2].lane[k] += kSquared ? y * y : y;
        }
      }
    }
    for (int64_t sum = kLabels ? 0 : 1; sum < (kLabels ? 3 : 2); ++sum)
      for (int64_t k = 0; k < kWidth; ++k) sums[sum * period + column + k] = running[sum].lane[k];
  }
}

template <class T>
void accumulate(const T* label, const T* p, int64_t period, int64_t repeats, bool squared,
                T* sums) {
  if (label)
    squared ? accumulate_block<true, true>(label, p, period, repeats, sums)
            : accumulate_block<true, false>(label, p, period, repeats, sums);
  else
    squared ? accumulate_block<false, true>(label, p, period, repeats, sums)
            : accumulate_block<false, false>(label, p, period, repeats, sums);
}

template <bool kLabels, bool kSquared, class T>
void gradient_block(const T* __restrict label, const T* __restrict p, int64_t period,
                    int64_t repeats, const SumDerivatives<T>& loss, T* __restrict gradient) {
  const T* __restrict by_intersection = loss.by_intersection;
  const T* __restrict by_prediction = loss.by_prediction;
  for (int64_t begin = 0; begin < repeats * period; begin += period)
    for (int64_t i = 0; i < (period & -kWidth); ++i) {
      T derivative = by_prediction[i];
      if constexpr (kSquared) derivative *= T(2) * p[begin + i];
      if constexpr (kLabels) derivative += by_intersection[i] * label[begin + i];
      gradient[begin + i] = derivative;
    }
}

template <class T>
void gradient(const T* label, const T* p, int64_t period, int64_t repeats,
              const SumDerivatives<T>& loss, bool squared, T* out) {
  if (label)
    squared ? gradient_block<true, true>(label, p, period, repeats, loss, out)
            : gradient_block<true, false>(label, p, period, repeats, loss, out);
  else
    squared ? gradient_block<false, true>(label, p, period, repeats, loss, out)
            : gradient_block<false, false>(label, p, period, repeats, loss, out);
}

// The words and the bit that hold the labels of kWidth elements.
template <class T>
struct BitIndex {
  using Word = typename LabelBits<T>::Word;
  uint64_t word;
  Word bit;
  FASTLOSS_INLINE explicit BitIndex(int64_t element) {
    const uint64_t row = uint64_t(element) / kWidth;
    word = row / LabelBits<T>::kBits * kWidth;
    bit = Word(1) << (row % LabelBits<T>::kBits);
  }
};

// Column by column, so that the derivatives stay in registers.
template <bool kSquared, class T>
void packed_gradient_block(const typename LabelBits<T>::Word* __restrict bits, int64_t begin,
                           const T* __restrict p, int64_t period, int64_t repeats,
                           const SumDerivatives<T>& loss, T* __restrict gradient) {
  for (int64_t column = 0; column < period; column += kWidth) {
    Lanes<T> if_one, if_zero, by_prediction;
    for (int64_t k = 0; k < kWidth; ++k) {
      const T by_intersection = loss.by_intersection[column + k];
      if_one.lane[k] = by_intersection;
      if_zero.lane[k] = by_intersection * T(0);
      by_prediction.lane[k] = loss.by_prediction[column + k];
    }
    for (int64_t i = column; i < repeats * period; i += period) {
      const BitIndex<T> index(begin + i);
      for (int64_t k = 0; k < kWidth; ++k) {
        const T of_label = bits[index.word + k] & index.bit ? if_one.lane[k] : if_zero.lane[k];
        const T of_p = kSquared ? by_prediction.lane[k] * (T(2) * p[i + k]) : by_prediction.lane[k];
        gradient[i + k] = of_p + of_label;
      }
    }
  }
}

template <class T>
void gradient_of_packed(const typename LabelBits<T>::Word* bits, int64_t begin, const T* p,
                        int64_t period, int64_t repeats, const SumDerivatives<T>& loss,
                        bool squared, T* out) {
  squared ? packed_gradient_block<true>(bits, begin, p, period, repeats, loss, out)
          : packed_gradient_block<false>(bits, begin, p, period, repeats, loss, out);
}

template <class T>
void sigmoid_backward(const T* __restrict p, int64_t count, T* __restrict gradient) {
  for (int64_t i = 0; i < (count & -kWidth); ++i) gradient[i] *= p[i] * (T(1) - p[i]);
}

template <class T>
void softmax_backward(const T* __restrict p, int64_t count, const Lanes<T>& extra,
                      T* __restrict gradient) {
  Lanes<T> rest;
  for (int64_t k = 0; k < kWidth; ++k) rest.lane[k] = extra.lane[k];
  for (int64_t i = 0; i < count; i += kWidth)
    for (int64_t k = 0; k < kWidth; ++k) rest.lane[k] -= p[i + k] * gradient[i + k];
  for (int64_t i = 0; i < count; i += kWidth)
    for (int64_t k = 0; k < kWidth; ++k)
      gradient[i + k] = p[i + k] * (gradient[i + k] + rest.lane[k]);
}

template <class T>
bool pack(const T* __restrict label, int64_t begin, int64_t count,
          typename LabelBits<T>::Word* __restrict bits) {
  using Word = typename LabelBits<T>::Word;
  // The bits are compared, for -0 would come back as 0.
  const Word one = to_bits(T(1));
  Word neither[kWidth] = {};
  for (int64_t i = 0; i < count;) {
    const BitIndex<T> index(begin + i);
    Word words[kWidth];
    for (int64_t k = 0; k < kWidth; ++k) words[k] = index.bit == 1 ? 0 : bits[index.word + k];
    for (Word bit = index.bit; bit && i < count; bit <<= 1, i += kWidth)
      for (int64_t k = 0; k < kWidth; ++k) {
        const Word y = to_bits(label[i + k]);
        const Word is_one = y == one ? ~Word(0) : 0;
        words[k] |= is_one & bit;
        neither[k] |= ~is_one & y;
      }
    for (int64_t k = 0; k < kWidth; ++k) bits[index.word + k] = words[k];
  }
  Word any = 0;
  for (int64_t k = 0; k < kWidth; ++k) any |= neither[k];
  return !any;
}

template <class T>
void unpack(const typename LabelBits<T>::Word* __restrict bits, int64_t begin, int64_t count,
            T* __restrict label) {
  for (int64_t i = 0; i < (count & -kWidth); i += kWidth) {
    const BitIndex<T> index(begin + i);
    for (int64_t k = 0; k < kWidth; ++k)
      label[i + k] = bits[index.word + k] & index.bit ? T(1) : T(0);
  }
}

template <class T>
void add(const T* __restrict x, int64_t count, T* __restrict in_out) {
  for (int64_t i = 0; i < (count & -kWidth); ++i) in_out[i] += x[i];
}

template <class T>
constexpr OverlapOps<T> overlap_ops() {
  return {
      sigmoid_of<T>,       softmax<T>,          accumulate<T>, gradient<T>, gradient_of_packed<T>,
      sigmoid_backward<T>, softmax_backward<T>, pack<T>,       unpack<T>,   add<T>};
}

}  // namespace

extern const OverlapOps<float> kOverlapOpsFloat;
extern const OverlapOps<double> kOverlapOpsDouble;
const OverlapOps<float> kOverlapOpsFloat = overlap_ops<float>();
const OverlapOps<double> kOverlapOpsDouble = overlap_ops<double>();

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
