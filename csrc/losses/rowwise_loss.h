// What a loss is that needs a whole row of classes before the first gradient: a functor whose
// methods see one class of a row, or the sums over its classes.
//
// kPrediction and kLabel say how the numbers of a row become probabilities, see Normalization; for
// Normalization::sum
//   clipped     what a number counts for in the sum of its row; where that is another number it has
//               no gradient
// A dense loss, whose labels are rows too, has
//   identity    the sums of no classes
//   accumulate  what a class adds to the sums of its row
//   combine     the sums of two parts of a row as those of both
//   finalize    the sums to {loss, b, c}, where b and c are for gradient()
//   gradient    the derivative by a prediction: as it came, a logit, or, times the sum of the row,
//               one that is divided by it
// A sparse loss, whose label is a class, has a Dense one for labels that are smoothed, or void, and
//   at_label    the loss and its derivative at the label's class: by the prediction as it came, or
//               by the logarithm of the probability
// unless it looks at all classes. GammaTwo is a cheaper form of a loss for parameters of which
// gamma_is_two() is true.
#pragma once

#include "losses/point.h"
#include "losses/scalar.h"

namespace fastloss {

// How probabilities are made of the numbers of a row.
enum class Normalization {
  none,     // they are taken as they came
  sum,      // each is divided by their sum
  softmax,  // they are logits
};

namespace FASTLOSS_ISA {

// One class of a row. `z` is log(p) in a row of logits, elsewhere the number as it came.
template <class T>
struct ClassProbability {
  T p, z;
};

// What the classes of a row add up to; each loss has its own meanings for them.
template <class T>
struct RowSums {
  T a, b, c;
};

template <class T>
struct RowwiseLoss {
  static constexpr Normalization kPrediction = Normalization::softmax, kLabel = Normalization::none;
  FASTLOSS_INLINE T clipped(T x) const { return x; }
  // These fill a row up to whole vectors without a trace in its sums.
  static constexpr T pad_prediction() { return -Format<T>::kInfinity; }
  static constexpr T pad_label() { return T(0); }
  // Of +0 a compiler makes string stores, and -0 adds nothing.
  static FASTLOSS_INLINE RowSums<T> identity() { return {T(-0.0), T(-0.0), T(-0.0)}; }
  static FASTLOSS_INLINE RowSums<T> combine(RowSums<T> x, RowSums<T> y) {
    return {x.a + y.a, x.b + y.b, x.c + y.c};
  }
};

template <class T>
struct FromProbabilities : RowwiseLoss<T> {
  static constexpr Normalization kPrediction = Normalization::sum;
  static constexpr T pad_prediction() { return T(0); }
};

// weight * x, and 0 for a weight of 0 even where x is infinite.
template <class T>
FASTLOSS_INLINE T weighted(T weight, T x) {
  return weight == 0 ? T(0) : weight * x;
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
