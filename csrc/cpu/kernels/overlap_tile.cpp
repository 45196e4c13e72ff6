// Compiled once per instruction set, under the rules of tile.cpp.
#include "cpu/kernels/overlap_tile.h"

#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int64_t kWidth = kRowLanes;

// kWidth elements that are wanted soon.
template <class T>
FASTLOSS_INLINE void prefetch(const T* x) {
  constexpr int64_t kLine = 64, kAhead = 32 * kLine;
  const char* const bytes = reinterpret_cast<const char*>(x) + kAhead;
  for (int64_t line = 0; line < kWidth * int64_t(sizeof(T)); line += kLine)
    __builtin_prefetch(bytes + line);
}

template <class T>
void sigmoid_of(const T* __restrict x, int64_t count, T* __restrict decay, T* __restrict p) {
  for (int64_t i = 0; i < count; i += kWidth) {
    prefetch(x + i);
    for (int64_t k = 0; k < kWidth; ++k) decay[i + k] = exp_neg_abs(x[i + k]);
  }
  for (int64_t i = 0; i < (count & -kWidth); ++i) p[i] = sigmoid(x[i], decay[i]);
}

template <class T>
void softmax(const T* __restrict exps, int64_t count, const Lanes<T>& factor, T* __restrict p) {
  for (int64_t i = 0; i < count; i += kWidth)
    for (int64_t k = 0; k < kWidth; ++k) p[i + k] = exps[i + k] * factor.lane[k];
}

template <bool kLabels, bool kSquared, class T>
void collect_block(const T* __restrict label, const T* __restrict p, int64_t period,
                   int64_t repeats, T* __restrict sums) {
  // Down the repeats, so that the sums stay in registers.
  for (int64_t column = 0; column < period; column += kWidth) {
    Lanes<T> some[3];
    for (int64_t sum = 0; sum < 3; ++sum)
      for (int64_t k = 0; k < kWidth; ++k) some[sum].lane[k] = sums[sum * period + column + k];
    for (int64_t i = column; i < repeats * period; i += period) {
      prefetch(p + i);
      if constexpr (kLabels) prefetch(label + i);
      for (int64_t k = 0; k < kWidth; ++k) {
        const T x = p[i + k];
        some[1].lane[k] += kSquared ? x * x : x;
        if constexpr (kLabels) {
          const T y = label[i + k];
          some[0].lane[k] += y * x;
          some[2].lane[k] += kSquared ? y * y : y;
        }
      }
    }
    for (int64_t sum = kLabels ? 0 : 1; sum < (kLabels ? 3 : 2); ++sum)
      for (int64_t k = 0; k < kWidth; ++k) sums[sum * period + column + k] = some[sum].lane[k];
  }
}

template <class T>
void collect(const T* label, const T* p, int64_t period, int64_t repeats, bool squared, T* sums) {
  if (label)
    squared ? collect_block<true, true>(label, p, period, repeats, sums)
            : collect_block<true, false>(label, p, period, repeats, sums);
  else
    squared ? collect_block<false, true>(label, p, period, repeats, sums)
            : collect_block<false, false>(label, p, period, repeats, sums);
}

template <bool kLabels, bool kSquared, class T>
void slope_block(const T* __restrict label, const T* __restrict p, int64_t period, int64_t repeats,
                 const T* __restrict by_intersection, const T* __restrict by_prediction,
                 T* __restrict gradient) {
  for (int64_t begin = 0; begin < repeats * period; begin += period)
    for (int64_t i = 0; i < (period & -kWidth); ++i) {
      T slope = by_prediction[i];
      if constexpr (kSquared) slope *= T(2) * p[begin + i];
      if constexpr (kLabels) slope += by_intersection[i] * label[begin + i];
      gradient[begin + i] = slope;
    }
}

template <class T>
void slopes(const T* label, const T* p, int64_t period, int64_t repeats, const T* by_intersection,
            const T* by_prediction, bool squared, T* gradient) {
  if (label)
    squared ? slope_block<true, true>(label, p, period, repeats, by_intersection, by_prediction,
                                      gradient)
            : slope_block<true, false>(label, p, period, repeats, by_intersection, by_prediction,
                                       gradient);
  else
    squared ? slope_block<false, true>(label, p, period, repeats, by_intersection, by_prediction,
                                       gradient)
            : slope_block<false, false>(label, p, period, repeats, by_intersection, by_prediction,
                                        gradient);
}

// Where the bits of kWidth elements are.
template <class T>
struct Place {
  using Word = typename LabelBits<T>::Word;
  uint64_t word;
  Word bit;
  FASTLOSS_INLINE explicit Place(int64_t element) {
    const uint64_t row = uint64_t(element) / kWidth;
    word = row / LabelBits<T>::kBits * kWidth;
    bit = Word(1) << (row % LabelBits<T>::kBits);
  }
};

// As slope_block, of labels as bits; down the repeats, so that the slopes stay in registers.
template <bool kSquared, class T>
void slope_bits(const typename LabelBits<T>::Word* __restrict bits, int64_t begin,
                const T* __restrict p, int64_t period, int64_t repeats,
                const T* __restrict by_intersection, const T* __restrict by_prediction,
                T* __restrict gradient) {
  for (int64_t column = 0; column < period; column += kWidth) {
    Lanes<T> hit, miss, slope;
    for (int64_t k = 0; k < kWidth; ++k) {
      hit.lane[k] = by_intersection[column + k];
      miss.lane[k] = by_intersection[column + k] * T(0);
      slope.lane[k] = by_prediction[column + k];
    }
    for (int64_t i = column; i < repeats * period; i += period) {
      const Place<T> place(begin + i);
      for (int64_t k = 0; k < kWidth; ++k) {
        const T of_label = bits[place.word + k] & place.bit ? hit.lane[k] : miss.lane[k];
        const T of_share = kSquared ? slope.lane[k] * (T(2) * p[i + k]) : slope.lane[k];
        gradient[i + k] = of_share + of_label;
      }
    }
  }
}

template <class T>
void slopes_of_bits(const typename LabelBits<T>::Word* bits, int64_t begin, const T* p,
                    int64_t period, int64_t repeats, const T* by_intersection,
                    const T* by_prediction, bool squared, T* gradient) {
  squared
      ? slope_bits<true>(bits, begin, p, period, repeats, by_intersection, by_prediction, gradient)
      : slope_bits<false>(bits, begin, p, period, repeats, by_intersection, by_prediction,
                          gradient);
}

template <class T>
void through_sigmoid(const T* __restrict p, int64_t count, T* __restrict gradient) {
  for (int64_t i = 0; i < (count & -kWidth); ++i) gradient[i] *= p[i] * (T(1) - p[i]);
}

template <class T>
void through_softmax(const T* __restrict p, int64_t count, const Lanes<T>& extra,
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
  // As they are stored: -0 counts as neither.
  const Word one = to_bits(T(1));
  Word neither[kWidth] = {};
  for (int64_t i = 0; i < count;) {
    const Place<T> place(begin + i);
    Word words[kWidth];
    for (int64_t k = 0; k < kWidth; ++k) words[k] = place.bit == 1 ? 0 : bits[place.word + k];
    for (Word bit = place.bit; bit && i < count; bit <<= 1, i += kWidth)
      for (int64_t k = 0; k < kWidth; ++k) {
        const Word y = to_bits(label[i + k]);
        const Word is_one = y == one ? ~Word(0) : 0;
        words[k] |= is_one & bit;
        neither[k] |= ~is_one & y;
      }
    for (int64_t k = 0; k < kWidth; ++k) bits[place.word + k] = words[k];
  }
  Word any = 0;
  for (int64_t k = 0; k < kWidth; ++k) any |= neither[k];
  return !any;
}

template <class T>
void unpack(const typename LabelBits<T>::Word* __restrict bits, int64_t begin, int64_t count,
            T* __restrict label) {
  for (int64_t i = 0; i < (count & -kWidth); i += kWidth) {
    const Place<T> place(begin + i);
    for (int64_t k = 0; k < kWidth; ++k)
      label[i + k] = bits[place.word + k] & place.bit ? T(1) : T(0);
  }
}

template <class T>
void add(const T* __restrict x, int64_t count, T* __restrict in_out) {
  for (int64_t i = 0; i < (count & -kWidth); ++i) in_out[i] += x[i];
}

template <class T>
constexpr OverlapOps<T> overlap_ops() {
  return {sigmoid_of<T>,      softmax<T>,         collect<T>, slopes<T>, slopes_of_bits<T>,
          through_sigmoid<T>, through_softmax<T>, pack<T>,    unpack<T>, add<T>};
}

}  // namespace

extern const OverlapOps<float> kOverlapOpsFloat;
extern const OverlapOps<double> kOverlapOpsDouble;
const OverlapOps<float> kOverlapOpsFloat = overlap_ops<float>();
const OverlapOps<double> kOverlapOpsDouble = overlap_ops<double>();

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
