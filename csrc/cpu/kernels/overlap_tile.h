// What the overlap driver asks of an instruction set: loops over a block that repeats with a
// period, a multiple of kRowLanes, within which each element keeps its class. All counts are whole
// periods.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cpu/kernels/lanes.h"

namespace fastloss {

// Labels that are 0 or 1, a bit each: kRowLanes elements side by side are the same bit of kRowLanes
// words, the next ones the next bit.
template <class T>
struct LabelBits {
  using Word = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  static constexpr int64_t kBits = 8 * sizeof(Word);
  static constexpr int64_t words(int64_t elements) {
    return (elements + kRowLanes * kBits - 1) / (kRowLanes * kBits) * kRowLanes;
  }
};

template <class T>
struct OverlapOps {
  // decay = exp(-|x|)
  void (*sigmoid)(const T* x, int64_t count, T* decay, T* p);
  // p = exps * factor, with a factor per row; rows abreast.
  void (*softmax)(const T* exps, int64_t count, const Lanes<T>& factor, T* p);
  // sums = {label * p, p, label} added up for each element of a period, one after the other;
  // squares of the last two if `squared`. A null label adds to the middle one alone.
  void (*collect)(const T* label, const T* p, int64_t period, int64_t repeats, bool squared,
                  T* sums);
  // gradient = by_intersection * label + by_prediction, times 2 p if `squared`; the slopes are
  // given for each element of a period.
  void (*slopes)(const T* label, const T* p, int64_t period, int64_t repeats,
                 const T* by_intersection, const T* by_prediction, bool squared, T* gradient);
  // Of labels that pack() has put from `begin` on.
  void (*slopes_of_bits)(const typename LabelBits<T>::Word* bits, int64_t begin, const T* p,
                         int64_t period, int64_t repeats, const T* by_intersection,
                         const T* by_prediction, bool squared, T* gradient);
  // By p, to by what the activation was taken of. For softmax, whose rows are abreast, `extra` is
  // added to the slope of all classes of a row.
  void (*through_sigmoid)(const T* p, int64_t count, T* gradient);
  void (*through_softmax)(const T* p, int64_t count, const Lanes<T>& extra, T* gradient);
  // From the element `begin` of the bits on, which are packed in order. False if a label is neither
  // 0 nor 1.
  bool (*pack)(const T* label, int64_t begin, int64_t count, typename LabelBits<T>::Word* bits);
  void (*unpack)(const typename LabelBits<T>::Word* bits, int64_t begin, int64_t count, T* label);
  void (*add)(const T* x, int64_t count, T* in_out);
};

}  // namespace fastloss
