// The losses that need a whole row of classes before the first gradient. Parameters arrive in the
// order that LIST names them.
#pragma once

#include "losses/rowwise_loss.h"
#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// alpha (1 - p)^gamma (-log p) as a function of log p: the loss and its derivative. Gamma 2 is the
// paper's default and needs no power.
template <class T, bool kSquare>
struct CategoricalFocus {
  T alpha, gamma;
  explicit CategoricalFocus(const double* parameters)
      : alpha(T(parameters[0])), gamma(T(parameters[1])) {}
  FASTLOSS_INLINE Point<T> operator()(T p, T log_p) const {
    const T miss = T(1) - p;
    const T factor = alpha * (kSquare ? miss * miss : pow(miss, gamma));
    // At p = 1 the product with log(p) has the limit 0, whatever gamma.
    const T by_miss = kSquare ? alpha * (miss + miss) : miss == 0 ? T(0) : gamma * factor / miss;
    return {-(factor * log_p), by_miss * weighted(p, log_p) - factor};
  }
};

template <class T>
struct categorical_crossentropy_from_logits : RowwiseLoss<T> {
  explicit categorical_crossentropy_from_logits(const double*) {}
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    return {weighted(y.p, x.z), y.p, T(0)};
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const { return {-sums.a, sums.b, T(0)}; }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T> row) const {
    return row.b * x.p - y.p;
  }
};

template <class T, bool kSquare = false>
struct categorical_focal_crossentropy_from_logits : RowwiseLoss<T> {
  using GammaTwo = categorical_focal_crossentropy_from_logits<T, true>;
  static bool gamma_is_two(const double* parameters) { return parameters[1] == 2; }
  CategoricalFocus<T, kSquare> focus;
  explicit categorical_focal_crossentropy_from_logits(const double* parameters)
      : focus(parameters) {}
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    const Point<T> point = focus(x.p, x.z);
    return {weighted(y.p, point.value), weighted(y.p, point.slope), T(0)};
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const { return sums; }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T> row) const {
    return weighted(y.p, focus(x.p, x.z).slope) - x.p * row.b;
  }
};

// Probabilities are divided by their sum, and then clipped.
template <class T>
struct categorical_crossentropy : FromProbabilities<T> {
  T low, high;
  explicit categorical_crossentropy(const double* parameters)
      : low(T(parameters[0])), high(T(1) - T(parameters[0])) {}
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    return {-(y.p * log_normal(clip(x.p, low, high))), outside(x.p, low, high) ? T(0) : -y.p, T(0)};
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const { return sums; }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T> row) const {
    return (outside(x.p, low, high) ? T(0) : -y.p / x.p) - row.b;
  }
};

template <class T, bool kSquare = false>
struct categorical_focal_crossentropy : FromProbabilities<T> {
  using GammaTwo = categorical_focal_crossentropy<T, true>;
  static bool gamma_is_two(const double* parameters) { return parameters[1] == 2; }
  CategoricalFocus<T, kSquare> focus;
  T low, high;
  explicit categorical_focal_crossentropy(const double* parameters)
      : focus(parameters), low(T(parameters[2])), high(T(1) - T(parameters[2])) {}
  FASTLOSS_INLINE Point<T> at(T probability) const {
    const T p = clip(probability, low, high);
    const Point<T> point = focus(p, log_normal(p));
    return {point.value, outside(probability, low, high) ? T(0) : point.slope};
  }
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    const Point<T> point = at(x.p);
    return {y.p * point.value, y.p * point.slope, T(0)};
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const { return sums; }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T> row) const {
    // Clipped from below, so that 0 / 0 does not arise.
    return y.p * at(x.p).slope / (x.p < low ? low : x.p) - row.b;
  }
};

// Probabilities are clipped, and then divided by their sum.
template <class T>
struct clipped_crossentropy : FromProbabilities<T> {
  T low, high;
  explicit clipped_crossentropy(const double* parameters)
      : low(T(parameters[0])), high(T(1) - T(parameters[0])) {}
  FASTLOSS_INLINE T clipped(T x) const { return clip(x, low, high); }
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    return {weighted(y.p, log(x.p)), y.p, T(0)};
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const { return {-sums.a, sums.b, T(0)}; }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T> row) const {
    return outside(x.z, low, high) ? T(0) : row.b - y.p / x.p;
  }
};

template <class T>
struct sparse_categorical_crossentropy_from_logits : RowwiseLoss<T> {
  using Dense = categorical_crossentropy_from_logits<T>;
  explicit sparse_categorical_crossentropy_from_logits(const double*) {}
  FASTLOSS_INLINE Point<T> at_label(ClassProbability<T> x) const { return {-x.z, T(-1)}; }
};

template <class T>
struct sparse_categorical_crossentropy : FromProbabilities<T> {
  using Dense = clipped_crossentropy<T>;
  Dense dense;
  explicit sparse_categorical_crossentropy(const double* parameters) : dense(parameters) {}
  FASTLOSS_INLINE T clipped(T x) const { return dense.clipped(x); }
  FASTLOSS_INLINE Point<T> at_label(ClassProbability<T> x) const { return {-log(x.p), T(-1)}; }
};

template <class T>
struct sparse_categorical_focal_crossentropy_from_logits : RowwiseLoss<T> {
  using Dense = categorical_focal_crossentropy_from_logits<T>;
  Dense dense;
  explicit sparse_categorical_focal_crossentropy_from_logits(const double* parameters)
      : dense(parameters) {}
  FASTLOSS_INLINE Point<T> at_label(ClassProbability<T> x) const { return dense.focus(x.p, x.z); }
};

template <class T>
struct sparse_categorical_focal_crossentropy : FromProbabilities<T> {
  using Dense = categorical_focal_crossentropy<T>;
  Dense dense;
  explicit sparse_categorical_focal_crossentropy(const double* parameters) : dense(parameters) {}
  FASTLOSS_INLINE Point<T> at_label(ClassProbability<T> x) const { return dense.at(x.p); }
};

template <class T>
struct categorical_generalized_cross_entropy : FromProbabilities<T> {
  static constexpr Normalization kPrediction = Normalization::none;
  using Dense = void;
  T q, inverse;
  explicit categorical_generalized_cross_entropy(const double* parameters)
      : q(T(parameters[0])), inverse(T(1 / parameters[0])) {}
  FASTLOSS_INLINE Point<T> at_label(ClassProbability<T> x) const {
    return {(T(1) - pow(x.z, q)) * inverse, -pow(x.z, q - T(1))};
  }
};

template <class T>
struct categorical_generalized_cross_entropy_from_logits : RowwiseLoss<T> {
  using Dense = void;
  T q, inverse;
  explicit categorical_generalized_cross_entropy_from_logits(const double* parameters)
      : q(T(parameters[0])), inverse(T(1 / parameters[0])) {}
  FASTLOSS_INLINE Point<T> at_label(ClassProbability<T> x) const {
    return {-(expm1(q * x.z) * inverse), -exp(q * x.z)};
  }
};

// a is the sum of y x, b the largest (1 - y) x, c the number of classes that have it and share its
// gradient.
template <class T>
struct categorical_hinge : RowwiseLoss<T> {
  static constexpr Normalization kPrediction = Normalization::none;
  explicit categorical_hinge(const double*) {}
  static constexpr T pad_prediction() { return Format<T>::kLowest; }
  static FASTLOSS_INLINE RowSums<T> identity() { return {T(0), -Format<T>::kInfinity, T(0)}; }
  static FASTLOSS_INLINE RowSums<T> combine(RowSums<T> x, RowSums<T> y) {
    const T largest = max(x.b, y.b);
    return {x.a + y.a, largest, (x.b < largest ? T(0) : x.c) + (y.b < largest ? T(0) : y.c)};
  }
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    return {y.p * x.z, (T(1) - y.p) * x.z, T(1)};
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const {
    const T margin = sums.b - sums.a + T(1);
    return {margin < 0 ? T(0) : margin, sums.b,
            margin < 0         ? T(0)
            : margin == margin ? T(1) / sums.c
                               : margin};
  }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T> row) const {
    const T rest = T(1) - y.p;
    const T largest = (rest * x.z == row.b ? rest : T(0)) * row.c;
    return row.c == 0 ? T(0) : largest - y.p;
  }
};

template <class T>
struct sparse_categorical_hinge : categorical_hinge<T> {
  using Dense = categorical_hinge<T>;
  using categorical_hinge<T>::categorical_hinge;
};

template <class T>
struct cosine_similarity : FromProbabilities<T> {
  static constexpr Normalization kPrediction = Normalization::none;
  T longest;
  explicit cosine_similarity(const double* parameters) : longest(T(1 / parameters[0])) {}
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    return {x.z * x.z, y.p * y.p, x.z * y.p};
  }
  // 1 / |v|, but no more than 1 / epsilon.
  FASTLOSS_INLINE T inverse_length(T square) const {
    const T inverse = T(1) / sqrt(square);
    return inverse > longest ? longest : inverse;
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const {
    const T x = inverse_length(sums.a);
    const T product = x * inverse_length(sums.b);
    const T cosine = sums.c * product;
    return {-cosine, product, x == longest ? T(0) : cosine * x * x};
  }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T> row) const {
    return x.z * row.c - y.p * row.b;
  }
};

// Labels and predictions are logits.
template <class T>
struct BetweenLogits : RowwiseLoss<T> {
  static constexpr Normalization kLabel = Normalization::softmax;
  static constexpr T pad_label() { return -Format<T>::kInfinity; }
};

template <class T>
struct kl_divergence_from_logits : BetweenLogits<T> {
  explicit kl_divergence_from_logits(const double*) {}
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    return {weighted(y.p, y.z - x.z), T(0), T(0)};
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const { return sums; }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T>) const {
    return x.p - y.p;
  }
};

template <class T>
struct reverse_kl_divergence_from_logits : BetweenLogits<T> {
  explicit reverse_kl_divergence_from_logits(const double*) {}
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    return {weighted(x.p, x.z - y.z), T(0), T(0)};
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const { return {sums.a, sums.a, T(0)}; }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T> row) const {
    return weighted(x.p, x.z - y.z - row.b);
  }
};

// With m = beta y + (1 - beta) x: beta KL(y, m) + (1 - beta) KL(x, m).
template <class T>
struct jensen_shannon_divergence_from_logits : BetweenLogits<T> {
  T beta, rest;
  explicit jensen_shannon_divergence_from_logits(const double* parameters)
      : beta(T(parameters[0])), rest(T(1 - parameters[0])) {}
  FASTLOSS_INLINE T log_mixture(ClassProbability<T> y, ClassProbability<T> x) const {
    // A mixture that rounds to 0 would make an infinite term of a probability that does not.
    return log_normal(max(beta * y.p + rest * x.p, Format<T>::kMinNormal));
  }
  FASTLOSS_INLINE RowSums<T> accumulate(ClassProbability<T> y, ClassProbability<T> x) const {
    const T mixture = log_mixture(y, x);
    const T x_term = weighted(x.p, x.z - mixture);
    return {beta * weighted(y.p, y.z - mixture) + rest * x_term, x_term, T(0)};
  }
  FASTLOSS_INLINE RowSums<T> finalize(RowSums<T> sums) const { return sums; }
  FASTLOSS_INLINE T gradient(ClassProbability<T> y, ClassProbability<T> x, RowSums<T> row) const {
    return rest * weighted(x.p, x.z - log_mixture(y, x) - row.b);
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss

// LIST(loss, labels, parameters...): labels are `dense` rows or `sparse` classes.
#define FASTLOSS_ROWWISE_LOSSES(LIST)                                           \
  LIST(categorical_crossentropy, dense, epsilon)                                \
  LIST(categorical_crossentropy_from_logits, dense)                             \
  LIST(sparse_categorical_crossentropy, sparse, epsilon)                        \
  LIST(sparse_categorical_crossentropy_from_logits, sparse)                     \
  LIST(categorical_focal_crossentropy, dense, alpha, gamma, epsilon)            \
  LIST(categorical_focal_crossentropy_from_logits, dense, alpha, gamma)         \
  LIST(sparse_categorical_focal_crossentropy, sparse, alpha, gamma, epsilon)    \
  LIST(sparse_categorical_focal_crossentropy_from_logits, sparse, alpha, gamma) \
  LIST(categorical_generalized_cross_entropy, sparse, q)                        \
  LIST(categorical_generalized_cross_entropy_from_logits, sparse, q)            \
  LIST(categorical_hinge, dense)                                                \
  LIST(sparse_categorical_hinge, sparse)                                        \
  LIST(cosine_similarity, dense, epsilon)                                       \
  LIST(kl_divergence_from_logits, dense)                                        \
  LIST(reverse_kl_divergence_from_logits, dense)                                \
  LIST(jensen_shannon_divergence_from_logits, dense, beta)
