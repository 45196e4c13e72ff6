// The cross-entropies of yes and no, functors of elementwise.h.
//
// A loss that has a cheaper form says which one it is and for which parameters it holds: GammaTwo
// where gamma is 2, HardLabels, of labels that are all 0 or 1, where they are not smoothed.
#pragma once

#include "losses/point.h"
#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
struct Smoothing {
  T scale, shift;
  explicit Smoothing(double label_smoothing)
      : scale(T(1 - label_smoothing)), shift(T(0.5 * label_smoothing)) {}
  FASTLOSS_INLINE T operator()(T label) const { return label * scale + shift; }
};

// sigmoid(x) and 1 - sigmoid(x), neither by cancellation, and softplus(-|x|); of e = exp(-|x|).
template <class T>
struct Sigmoid {
  T positive, negative, softplus;
  FASTLOSS_INLINE Sigmoid(T x, T e) {
    const T near = T(1) / (T(1) + e);
    const T far = e * near;
    positive = x < 0 ? far : near;
    negative = x < 0 ? near : far;
    softplus = detail::log1p_unit(e);
  }
};

// What the losses of logits prepare.
template <class T>
struct OfLogits {
  FASTLOSS_INLINE T prepare(T, T x) const { return exp_neg_abs(x); }
};

template <class T>
struct binary_crossentropy_from_logits : OfLogits<T> {
  Smoothing<T> smooth;
  explicit binary_crossentropy_from_logits(const double* parameters) : smooth(parameters[0]) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T x, T pos_weight, T prepared) const {
    const T y = smooth(label);
    const Sigmoid<T> p(x, prepared);
    const T factor = T(1) + (pos_weight - T(1)) * y;
    // factor * softplus(-x) + (1 - y) * x, written so that a large logit of the right sign keeps
    // its small loss: softplus(-x) = softplus(-|x|) + max(-x, 0).
    const T linear = x < 0 ? -pos_weight * y * x : (T(1) - y) * x;
    return {factor * p.softplus + linear, (T(1) - y) * p.positive - pos_weight * y * p.negative};
  }
};

// Cross-entropy of a clipped probability. Hard labels, all 0 or 1, need one logarithm and one
// division instead of two, and get the same bits.
template <class T, bool kHard>
struct Probability {
  T low, high;
  explicit Probability(double epsilon) : low(T(epsilon)), high(T(1) - T(epsilon)) {}
  FASTLOSS_INLINE T prepare(T label, T prediction) const {
    const T p = clip(prediction, low, high);
    return log_normal(kHard ? chosen(label, p) : p);
  }
  // p for the label 1, 1 - p for 0; by arithmetic that is exact, as selects do not vectorise here.
  static FASTLOSS_INLINE T chosen(T label, T p) { return label * p + (T(1) - label) * (T(1) - p); }
  // -(hit log(p) + miss log(1 - p)), where one of hit and miss is 0 for a hard label.
  FASTLOSS_INLINE Point<T> operator()(T hit, T miss, T prediction, T log_p) const {
    const T p = clip(prediction, low, high);
    const T q = T(1) - p;
    const bool clipped = outside(prediction, low, high);
    if (kHard) {
      const T slope = (miss - hit) / chosen(T(1) - miss, p);
      return {-((hit + miss) * log_p), clipped ? T(0) : slope};
    }
    return {-(hit * log_p + miss * log_normal(q)), clipped ? T(0) : miss / q - hit / p};
  }
};

template <class T, bool kHard = false>
struct binary_crossentropy {
  using HardLabels = binary_crossentropy<T, true>;
  static bool takes_hard_labels(const double* parameters) { return parameters[0] == 0; }
  Smoothing<T> smooth;
  Probability<T, kHard> entropy;
  explicit binary_crossentropy(const double* parameters)
      : smooth(parameters[0]), entropy(parameters[1]) {}
  FASTLOSS_INLINE T prepare(T label, T prediction) const {
    return entropy.prepare(label, prediction);
  }
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T pos_weight, T log_p) const {
    const T y = kHard ? label : smooth(label);
    return entropy(pos_weight * y, T(1) - y, prediction, log_p);
  }
};

// (1 - p_t)^gamma and its derivative. Gamma 2 is the paper's default and needs no power.
template <class T, bool kSquare>
struct Focus {
  T gamma, slope_at_zero;
  explicit Focus(double g)
      : gamma(T(g)),
        slope_at_zero(g > 1 || g == 0 ? T(0)
                      : g == 1        ? T(1)
                                      : T(1) / T(0)) {}
  FASTLOSS_INLINE Point<T> operator()(T miss) const {
    if (kSquare) return {miss * miss, miss + miss};
    const T value = pow(miss, gamma);
    return {value, miss == 0 ? slope_at_zero : gamma * value / miss};
  }
};

template <class T, bool kSquare = false>
struct binary_focal_crossentropy_from_logits : OfLogits<T> {
  using GammaTwo = binary_focal_crossentropy_from_logits<T, true>;
  static bool gamma_is_two(const double* parameters) { return parameters[1] == 2; }
  Smoothing<T> smooth;
  Focus<T, kSquare> focus;
  T base, balance;
  explicit binary_focal_crossentropy_from_logits(const double* parameters)
      : smooth(parameters[0]),
        focus(parameters[1]),
        base(T(parameters[2])),
        balance(T(parameters[3])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T x, T, T prepared) const {
    const T y = smooth(label);
    const Sigmoid<T> p(x, prepared);
    const T entropy = p.softplus + (x < 0 ? -y * x : (T(1) - y) * x);
    const T error = (T(1) - y) * p.positive - y * p.negative;
    const T miss = y * p.negative + (T(1) - y) * p.positive;
    const Point<T> factor = focus(miss);
    const T weight = base + balance * y;
    const T tilt = (T(1) - y - y) * p.positive * p.negative;
    return {weight * factor.value * entropy,
            weight * (factor.value * error + factor.slope * tilt * entropy)};
  }
};

template <class T, bool kSquare = false, bool kHard = false>
struct binary_focal_crossentropy {
  using GammaTwo = binary_focal_crossentropy<T, true, kHard>;
  static bool gamma_is_two(const double* parameters) { return parameters[1] == 2; }
  using HardLabels = binary_focal_crossentropy<T, kSquare, true>;
  static bool takes_hard_labels(const double* parameters) { return parameters[0] == 0; }
  Smoothing<T> smooth;
  Focus<T, kSquare> focus;
  T base, balance;
  Probability<T, kHard> entropy;
  explicit binary_focal_crossentropy(const double* parameters)
      : smooth(parameters[0]),
        focus(parameters[1]),
        base(T(parameters[2])),
        balance(T(parameters[3])),
        entropy(parameters[4]) {}
  FASTLOSS_INLINE T prepare(T label, T prediction) const {
    return entropy.prepare(label, prediction);
  }
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T, T log_p) const {
    const T y = kHard ? label : smooth(label);
    const Point<T> cross = entropy(y, T(1) - y, prediction, log_p);
    // The focal factor sees the prediction as it came; only the logarithm sees it clipped.
    const T miss = y * (T(1) - prediction) + (T(1) - y) * prediction;
    const Point<T> factor = focus(miss);
    const T weight = base + balance * y;
    const T tilt = T(1) - y - y;
    return {weight * factor.value * cross.value,
            weight * (factor.value * cross.slope + factor.slope * tilt * cross.value)};
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
