// One functor per loss of the elementwise pattern: its value and its derivative with respect to the
// prediction at one (label, prediction). Parameters arrive in the order that LIST names them.
#pragma once

#include "scalar.h"

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
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T floored = max(prediction, epsilon);
    const T error = log1p(floored) - log1p(max(label, epsilon));
    const T slope = (error + error) / (floored + T(1));
    return {error * error, prediction < epsilon ? T(0) : slope};
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
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    // With m = exp(-|error|) - 1: cosh(error) = 1 + m^2 / (2 (1 + m)), which keeps small errors
    // exact, and for large errors log(cosh(error)) = |error| + log(1 + exp(-2 |error|)) - log(2).
    const T error = prediction - label;
    const T size = abs(error);
    const T m = expm1(-size);
    const T decay = T(1) + m;
    const bool small = size < T(1);
    const T inner = log1p(small ? T(0.5) * m * m / decay : decay * decay);
    const T value = small ? inner : size + (inner - T(0.693147180559945309417));
    const T slope = -m * (T(1) + decay) / (T(1) + decay * decay);
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
    return {y * log(ratio), outside(prediction, epsilon, T(1)) ? T(0) : -ratio};
  }
};

template <class T>
struct pinball {
  T tau;
  explicit pinball(const double* parameters) : tau(T(parameters[0])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T error = label - prediction;
    const T slope = error < 0 ? tau - T(1) : error == error ? tau : error;
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
  FASTLOSS_INLINE explicit Sigmoid(T x) {
    const T decay = exp(-abs(x));
    const T near = T(1) / (T(1) + decay);
    const T far = decay * near;
    positive = x < 0 ? far : near;
    negative = x < 0 ? near : far;
    softplus = log1p(decay);
  }
};

template <class T>
struct binary_crossentropy_from_logits {
  Smoothing<T> smooth;
  explicit binary_crossentropy_from_logits(const double* parameters) : smooth(parameters[0]) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T x, T pos_weight) const {
    const T y = smooth(label);
    const Sigmoid<T> p(x);
    const T factor = T(1) + (pos_weight - T(1)) * y;
    // factor * softplus(-x) + (1 - y) * x, written so that a large logit of the right sign keeps
    // its small loss: softplus(-x) = softplus(-|x|) + max(-x, 0).
    const T linear = x < 0 ? -pos_weight * y * x : (T(1) - y) * x;
    return {factor * p.softplus + linear,
            (T(1) - y) * p.positive - pos_weight * y * p.negative};
  }
};

template <class T>
struct binary_crossentropy {
  Smoothing<T> smooth;
  T low, high;
  explicit binary_crossentropy(const double* parameters)
      : smooth(parameters[0]), low(T(parameters[1])), high(T(1) - T(parameters[1])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T pos_weight) const {
    const T y = smooth(label);
    const T hit = pos_weight * y;
    const T miss = T(1) - y;
    const T p = clip(prediction, low, high);
    const T q = T(1) - p;
    const T slope = (miss * p - hit * q) / (p * q);
    return {-(hit * log(p) + miss * log(q)), outside(prediction, low, high) ? T(0) : slope};
  }
};

// (1 - p_t)^gamma and its derivative; gamma 2 is the paper's default and needs no power.
template <class T>
struct Focus {
  T gamma;
  bool square;
  explicit Focus(double g) : gamma(T(g)), square(g == 2) {}
  FASTLOSS_INLINE Point<T> operator()(T miss) const {
    if (square) return {miss * miss, miss + miss};
    return {pow(miss, gamma), gamma == 0 ? T(0) : gamma * pow(miss, gamma - T(1))};
  }
};

template <class T>
struct binary_focal_crossentropy_from_logits {
  Smoothing<T> smooth;
  Focus<T> focus;
  T base, balance;
  explicit binary_focal_crossentropy_from_logits(const double* parameters)
      : smooth(parameters[0]),
        focus(parameters[1]),
        base(T(parameters[2])),
        balance(T(parameters[3])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T x, T) const {
    const T y = smooth(label);
    const Sigmoid<T> p(x);
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

template <class T>
struct binary_focal_crossentropy {
  Smoothing<T> smooth;
  Focus<T> focus;
  T base, balance, low, high;
  explicit binary_focal_crossentropy(const double* parameters)
      : smooth(parameters[0]),
        focus(parameters[1]),
        base(T(parameters[2])),
        balance(T(parameters[3])),
        low(T(parameters[4])),
        high(T(1) - T(parameters[4])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T y = smooth(label);
    const T p = clip(prediction, low, high);
    const T q = T(1) - p;
    const T entropy = -(y * log(p) + (T(1) - y) * log(q));
    const T slope = outside(prediction, low, high) ? T(0) : (p - y) / (p * q);
    // The focal factor sees the prediction as it came; only the logarithm sees it clipped.
    const T miss = y * (T(1) - prediction) + (T(1) - y) * prediction;
    const Point<T> factor = focus(miss);
    const T weight = base + balance * y;
    const T tilt = T(1) - y - y;
    return {weight * factor.value * entropy,
            weight * (factor.value * slope + factor.slope * tilt * entropy)};
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss

// LIST(loss, rows, labels, parameters...): `rows` is how a row's values are joined, `labels` is
// `binary` where the first parameter is found by looking at all labels.
#define FASTLOSS_ELEMENTWISE_LOSSES(LIST)      \
  LIST(mean_squared_error, mean, any)          \
  LIST(mean_absolute_error, mean, any)         \
  LIST(mean_absolute_percentage_error, mean, any, epsilon) \
  LIST(mean_squared_logarithmic_error, mean, any, epsilon) \
  LIST(huber, mean, any, delta)                \
  LIST(log_cosh, mean, any)                    \
  LIST(poisson, mean, any, epsilon)            \
  LIST(hinge, mean, binary)                    \
  LIST(squared_hinge, mean, binary)            \
  LIST(kl_divergence, sum, any, epsilon)       \
  LIST(pinball, mean, any, tau)                \
  LIST(binary_crossentropy, mean, any, label_smoothing, epsilon) \
  LIST(binary_crossentropy_from_logits, mean, any, label_smoothing) \
  LIST(binary_focal_crossentropy, mean, any, label_smoothing, gamma, base, balance, epsilon) \
  LIST(binary_focal_crossentropy_from_logits, mean, any, label_smoothing, gamma, base, balance)
