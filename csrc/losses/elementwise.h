// One functor per loss of the elementwise pattern: its value and its derivative with respect to the
// prediction at one (label, prediction). Parameters arrive in the order that LIST names them.
//
// A loss of several transcendental functions may split: prepare() then goes ahead over a few
// hundred elements. One long chain of dependent operations fills a CPU's reorder buffer with three
// or four elements, and the CPU waits; two short ones overlap.
#pragma once

#include "losses/binary_crossentropy.h"
#include "losses/point.h"
#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {

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
struct smooth_l1 {
  T beta, half_beta;
  explicit smooth_l1(const double* parameters)
      : beta(T(parameters[0])), half_beta(T(0.5 * parameters[0])) {}
  FASTLOSS_INLINE Point<T> operator()(T label, T prediction, T) const {
    const T error = prediction - label;
    const T size = abs(error);
    const T ratio = error / beta;
    const bool small = size < beta;
    return {small ? T(0.5) * error * ratio : size - half_beta, small ? ratio : sign(error)};
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
    const T e = T(1) + m;
    // 1 + e^2 by products of one use each: a second use, in a loop of values alone, would keep
    // the compiler from fusing it, and the slope would not have the same bits in every loop.
    const T square = T(2) + m * (T(2) + m);
    const bool small = size < T(1);
    // One division for both 1 / e, wanted of small errors only, and 1 / square.
    const T divisor = small ? e : T(1);
    const T inverse = T(1) / (divisor * square);
    const T inner = detail::log1p_unit(small ? T(0.5) * m * m * square * inverse : e * e);
    const T value = small ? inner : size + (inner - T(0.693147180559945309417));
    const T slope = -m * (T(1) + e) * divisor * inverse;
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

// Keras turns labels into -1 and 1 when all of them are 0 or 1. Only the driver sees all of them:
// it passes what it found as the one parameter.
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

}  // namespace FASTLOSS_ISA
}  // namespace fastloss

// LIST(loss, rows, needs, parameters...): the loss of a row is the `mean` or the `sum` of its
// values; a value needs its `own_label` or, for a parameter that the driver finds, `all_labels`.
#define FASTLOSS_ELEMENTWISE_LOSSES(LIST)                                                          \
  LIST(mean_squared_error, mean, own_label)                                                        \
  LIST(mean_absolute_error, mean, own_label)                                                       \
  LIST(mean_absolute_percentage_error, mean, own_label, epsilon)                                   \
  LIST(mean_squared_logarithmic_error, mean, own_label, epsilon)                                   \
  LIST(huber, mean, own_label, delta)                                                              \
  LIST(smooth_l1, mean, own_label, beta)                                                           \
  LIST(log_cosh, mean, own_label)                                                                  \
  LIST(poisson, mean, own_label, epsilon)                                                          \
  LIST(hinge, mean, all_labels)                                                                    \
  LIST(squared_hinge, mean, all_labels)                                                            \
  LIST(kl_divergence, sum, own_label, epsilon)                                                     \
  LIST(pinball, mean, own_label, tau)                                                              \
  LIST(binary_crossentropy, mean, own_label, label_smoothing, epsilon)                             \
  LIST(binary_crossentropy_from_logits, mean, own_label, label_smoothing)                          \
  LIST(binary_focal_crossentropy, mean, own_label, label_smoothing, gamma, base, balance, epsilon) \
  LIST(binary_focal_crossentropy_from_logits, mean, own_label, label_smoothing, gamma, base,       \
       balance)
