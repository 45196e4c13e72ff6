// One functor per loss of the elementwise pattern: its value and its derivative with respect to the
// prediction at one (label, prediction). Parameters arrive in the order that LIST names them.
//
// A loss of several transcendental functions may split: prepare() is then walked ahead over a few
// hundred elements. One long chain of dependent operations fills a CPU's reorder buffer with three
// or four elements, and the CPU waits; two short ones overlap.
#pragma once

#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// `slope` is the derivative of `value` with respect to the prediction.
template <class T>
struct Point {
  T value, slope;
};

template <class T>
FASTLOSS_INLINE T sign(T x) {
  // A NaN error must give a NaN slope, so the third case is x itself.
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

template <class T>
FASTLOSS_INLINE T clip(T x, T low, T high) {
  return x < low ? low : x > high ? high : x;
}

template <class T>
FASTLOSS_INLINE bool outside(T x, T low, T high) {
  return x < low || x > high;
}

template <class T>
struct mean_squared_error {
  explicit mean_squared_error(const double*) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T error = prediction - label;
    return {error * error, error + error};
  }
};

template <class T>
struct mean_absolute_error {
  explicit mean_absolute_error(const double*) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T error = prediction - label;
    return {abs(error), sign(error)};
  }
};

template <class T>
struct mean_absolute_percentage_error {
  T epsilon;
  explicit mean_absolute_percentage_error(const double* parameters) : epsilon(T(parameters[0])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T scale = T(100) / max(abs(label), epsilon);
    const T error = prediction - label;
    return {abs(error) * scale, sign(error) * scale};
  }
};

template <class T>
struct mean_squared_logarithmic_error {
  T epsilon;
  explicit mean_squared_logarithmic_error(const double* parameters) : epsilon(T(parameters[0])) {}
  // |log(1 + x) - log(1 + y)| = log(1 + |x - y| / (1 + min(x, y))): one logarithm, and exact where
  // the two are close.
  FASTLOSS_INLINE T prepare(T label, T prediction) const {
    const T x = prediction < epsilon ? epsilon : prediction;
    const T y = label < epsilon ? epsilon : label;
    return abs(x - y) / (T(1) + (x < y ? x : y));
  }
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T, T distance) const {
    const T x = prediction < epsilon ? epsilon : prediction;
    const T y = label < epsilon ? epsilon : label;
    const T size = log1p(distance);
    const T slope = (size + size) / (T(1) + x);
    const T direction = x < y ? T(-1) : T(1);
    return {size * size, prediction < epsilon ? T(0) : slope * direction};
  }
};

template <class T>
struct huber {
  T delta, half_delta;
  explicit huber(const double* parameters)
      : delta(T(parameters[0])), half_delta(T(0.5 * parameters[0])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T error = prediction - label;
    const T size = abs(error);
    const T value = size <= delta ? T(0.5) * error * error : delta * (size - half_delta);
    return {value, clip(error, -delta, delta)};
  }
};

template <class T>
struct log_cosh {
  explicit log_cosh(const double*) {}
  FASTLOSS_INLINE T prepare(T label, T prediction) const {
    return detail::expm1_bounded(-abs(prediction - label));
  }
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T, T m) const {
    // With m = exp(-|error|) - 1: cosh(error) = 1 + m^2 / (2 (1 + m)), which keeps small errors
    // exact, and for large errors log(cosh(error)) = |error| + log(1 + exp(-2 |error|)) - log(2).
    const T error = prediction - label;
    const T size = abs(error);
    const T decay = T(1) + m;
    // 1 + decay^2 by products of one use each: a second use, in a loop of values alone, would keep
    // the compiler from fusing it, and the slope would not have the same bits in every loop.
    const T square = T(2) + m * (T(2) + m);
    const bool small = size < T(1);
    // One division for both 1 / decay, wanted of small errors only, and 1 / square.
    const T divisor = small ? decay : T(1);
    const T inverse = T(1) / (divisor * square);
    const T inner = detail::log1p_unit(small ? T(0.5) * m * m * square * inverse : decay * decay);
    const T value = small ? inner : size + (inner - T(0.693147180559945309417));
    const T slope = -m * (T(1) + decay) * divisor * inverse;
    return {value, error < 0 ? -slope : slope};
  }
};

template <class T>
struct poisson {
  T epsilon;
  explicit poisson(const double* parameters) : epsilon(T(parameters[0])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T rate = prediction + epsilon;
    return {prediction - label * log(rate), T(1) - label / rate};
  }
};

// Keras turns labels into -1 and 1 when all of them are 0 or 1; only the driver sees all of them.
template <class T>
struct hinge {
  bool binary;
  explicit hinge(const double* parameters) : binary(parameters[0] != 0) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T y = binary ? label + label - T(1) : label;
    const T margin = T(1) - y * prediction;
    return {margin < 0 ? T(0) : margin, margin < 0 ? T(0) : margin == margin ? -y : margin};
  }
};

template <class T>
struct squared_hinge {
  bool binary;
  explicit squared_hinge(const double* parameters) : binary(parameters[0] != 0) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T y = binary ? label + label - T(1) : label;
    const T margin = T(1) - y * prediction;
    const T violation = margin < 0 ? T(0) : margin;
    return {violation * violation, T(-2) * y * violation};
  }
};

template <class T>
struct kl_divergence {
  T epsilon;
  explicit kl_divergence(const double* parameters) : epsilon(T(parameters[0])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T y = clip(label, epsilon, T(1));
    const T ratio = y / clip(prediction, epsilon, T(1));
    return {y * log_normal(ratio), outside(prediction, epsilon, T(1)) ? T(0) : -ratio};
  }
};

template <class T>
struct pinball {
  T above, below;
  explicit pinball(const double* parameters)
      : above(T(parameters[0])), below(T(parameters[0] - 1)) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T error = label - prediction;
    const T slope = error < 0 ? below : error == error ? above : error;
    return {slope * error, -slope};
  }
};

template <class T>
struct Smoothing {
  T keep, shift;
  explicit Smoothing(double label_smoothing)
      : keep(T(1 - label_smoothing)), shift(T(0.5 * label_smoothing)) {}
  FASTLOSS_INLINE T operator()(T label) const { return label * keep + shift; }
};

// sigmoid(x) and 1 - sigmoid(x), neither by cancellation, and softplus(-|x|).
template <class T>
struct Sigmoid {
  T positive, negative, softplus;
  FASTLOSS_INLINE Sigmoid(T x, T decay) {
    const T near = T(1) / (T(1) + decay);
    const T far = decay * near;
    positive = x < 0 ? far : near;
    negative = x < 0 ? near : far;
    softplus = detail::log1p_unit(decay);
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
  using HardLabels = binary_focal_crossentropy<T, kSquare, true>;
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

// LIST(loss, rows, labels, parameters...): `rows` is how a row's values are joined, `labels` is
// `binary` where the first parameter is found by looking at all labels.
#define FASTLOSS_ELEMENTWISE_LOSSES(LIST)                                                    \
  LIST(mean_squared_error, mean, any)                                                        \
  LIST(mean_absolute_error, mean, any)                                                       \
  LIST(mean_absolute_percentage_error, mean, any, epsilon)                                   \
  LIST(mean_squared_logarithmic_error, mean, any, epsilon)                                   \
  LIST(huber, mean, any, delta)                                                              \
  LIST(log_cosh, mean, any)                                                                  \
  LIST(poisson, mean, any, epsilon)                                                          \
  LIST(hinge, mean, binary)                                                                  \
  LIST(squared_hinge, mean, binary)                                                          \
  LIST(kl_divergence, sum, any, epsilon)                                                     \
  LIST(pinball, mean, any, tau)                                                              \
  LIST(binary_crossentropy, mean, any, label_smoothing, epsilon)                             \
  LIST(binary_crossentropy_from_logits, mean, any, label_smoothing)                          \
  LIST(binary_focal_crossentropy, mean, any, label_smoothing, gamma, base, balance, epsilon) \
  LIST(binary_focal_crossentropy_from_logits, mean, any, label_smoothing, gamma, base, balance)
