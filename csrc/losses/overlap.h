// The losses of overlapping regions. A functor sees the sums of a group of positions and gives the
// group's loss with its derivatives by the two sums that predictions have a part in. Parameters
// arrive in the order in which LIST names them.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "losses/target.h"

namespace fastloss {

// Of label * prediction, of the predictions and of the labels, over so many positions, each counted
// once for every class of the group; the sums of predictions and of labels may be of squares.
struct OverlapSums {
  double intersection, prediction, label, positions;
};

struct OverlapDerivatives {
  double by_intersection, by_prediction;
};

struct GroupLoss {
  double value, d_intersection, d_prediction;
};

// 1 - numerator / denominator.
FASTLOSS_INLINE GroupLoss one_minus_ratio(double numerator, double denominator,
                                          OverlapDerivatives of_numerator,
                                          OverlapDerivatives of_denominator) {
  const double ratio = numerator / denominator;
  return {1 - ratio,
          (ratio * of_denominator.by_intersection - of_numerator.by_intersection) / denominator,
          (ratio * of_denominator.by_prediction - of_numerator.by_prediction) / denominator};
}

// The chain rule for a function of `inner` that has this value and this derivative.
FASTLOSS_INLINE GroupLoss chained(GroupLoss inner, double value, double derivative) {
  // 0 times an infinite derivative of `inner` would be NaN.
  if (derivative == 0) return {value, 0, 0};
  return {value, derivative * inner.d_intersection, derivative * inner.d_prediction};
}

struct dice {
  double smooth_numerator, smooth_denominator;
  explicit dice(const double* parameters)
      : smooth_numerator(parameters[0]), smooth_denominator(parameters[1]) {}
  FASTLOSS_INLINE GroupLoss operator()(OverlapSums sums) const {
    return one_minus_ratio(2 * sums.intersection + smooth_numerator,
                           sums.prediction + sums.label + smooth_denominator, {2, 0}, {0, 1});
  }
};

struct tversky {
  double alpha, beta, smooth_numerator, smooth_denominator;
  explicit tversky(const double* parameters)
      : alpha(parameters[0]),
        beta(parameters[1]),
        smooth_numerator(parameters[2]),
        smooth_denominator(parameters[3]) {}
  FASTLOSS_INLINE GroupLoss operator()(OverlapSums sums) const {
    const double missed = sums.label - sums.intersection;
    const double wrong = sums.prediction - sums.intersection;
    return one_minus_ratio(sums.intersection + smooth_numerator,
                           sums.intersection + alpha * missed + beta * wrong + smooth_denominator,
                           {1, 0}, {1 - alpha - beta, beta});
  }
};

struct jaccard {
  double smooth_numerator, smooth_denominator;
  explicit jaccard(const double* parameters)
      : smooth_numerator(parameters[0]), smooth_denominator(parameters[1]) {}
  FASTLOSS_INLINE GroupLoss operator()(OverlapSums sums) const {
    return one_minus_ratio(sums.intersection + smooth_numerator,
                           sums.prediction + sums.label - sums.intersection + smooth_denominator,
                           {1, 0}, {-1, 1});
  }
};

struct focal_tversky {
  tversky base;
  double gamma;
  explicit focal_tversky(const double* parameters)
      : base(base_of(parameters)), gamma(parameters[2]) {}
  static tversky base_of(const double* parameters) {
    const double of_base[] = {parameters[0], parameters[1], parameters[3], parameters[4]};
    return tversky(of_base);
  }
  FASTLOSS_INLINE GroupLoss operator()(OverlapSums sums) const {
    const GroupLoss loss = base(sums);
    if (loss.value <= 0) return {gamma == 0 ? 1.0 : 0.0, 0, 0};
    return chained(loss, std::pow(loss.value, gamma), gamma * std::pow(loss.value, gamma - 1));
  }
};

struct log_cosh_dice {
  dice base;
  explicit log_cosh_dice(const double* parameters) : base(parameters) {}
  FASTLOSS_INLINE GroupLoss operator()(OverlapSums sums) const {
    const GroupLoss loss = base(sums);
    // cosh(x) = 1 + 2 sinh(x / 2)^2, which keeps the digits of a small loss.
    const double half = std::sinh(loss.value / 2);
    return chained(loss, std::log1p(2 * half * half), std::tanh(loss.value));
  }
};

// 1 - the correlation of labels and predictions. Abhishek, Hamarneh, "Matthews Correlation
// Coefficient Loss for Deep Convolutional Networks", 2021 (arXiv:2010.13454), with true and false
// positives and negatives written as sums.
struct matthews {
  static constexpr bool kCountsPositions = true;
  double smooth_numerator, smooth_denominator;
  explicit matthews(const double* parameters)
      : smooth_numerator(parameters[0]), smooth_denominator(parameters[1]) {}
  FASTLOSS_INLINE GroupLoss operator()(OverlapSums sums) const {
    const double count = sums.positions, prediction = sums.prediction, label = sums.label;
    const double of_predictions = not_negative(prediction * (count - prediction));
    const double of_labels = not_negative(label * (count - label));
    const double root = std::sqrt(of_predictions * of_labels);
    // Where labels or predictions are constant, the root has no derivative.
    const double d_root = root > 0 ? of_labels * (count - 2 * prediction) / (2 * root) : 0;
    return one_minus_ratio(count * sums.intersection - prediction * label + smooth_numerator,
                           root + smooth_denominator, {count, -label}, {0, d_root});
  }
  // The variance of numbers from 0 to 1 is not, but for rounding.
  static FASTLOSS_INLINE double not_negative(double variance) {
    return variance > 0 ? variance : 0;
  }
};

// Whether a loss depends on the number of positions, which must be counted where some are ignored.
template <class Loss, class = void>
struct CountsPositions : std::false_type {};
template <class Loss>
struct CountsPositions<Loss, std::enable_if_t<Loss::kCountsPositions>> : std::true_type {};

// Of all classes together. The sums of a class are multiplied by a power of its labels' sum, so
// that small regions count as much as large ones.
struct generalized_dice {
  double power, smooth_numerator, smooth_denominator;
  explicit generalized_dice(const double* parameters)
      : power(parameters[0]), smooth_numerator(parameters[1]), smooth_denominator(parameters[2]) {}
  // Fills in the factor of each class. The derivatives are those by the sums of all classes: by
  // those of class c they are class_factors[c] times as large.
  FASTLOSS_INLINE GroupLoss operator()(const OverlapSums* sums, const double* class_weight,
                                       int64_t classes, double* class_factors) const {
    double largest = 0;
    for (int64_t c = 0; c < classes; ++c) {
      class_factors[c] = sums[c].label > 0 ? std::pow(sums[c].label, -power) : 0.0;
      if (class_factors[c] > largest) largest = class_factors[c];
    }
    double intersection = 0, total = 0;
    for (int64_t c = 0; c < classes; ++c) {
      if (!(sums[c].label > 0)) class_factors[c] = largest > 0 ? largest : 1.0;
      if (class_weight) class_factors[c] *= class_weight[c];
      intersection += class_factors[c] * sums[c].intersection;
      total += class_factors[c] * (sums[c].prediction + sums[c].label);
    }
    return one_minus_ratio(2 * intersection + smooth_numerator, total + smooth_denominator, {2, 0},
                           {0, 1});
  }
};

}  // namespace fastloss

// LIST(loss, classes, parameters...): a loss of each group `alone`, or of its classes `together`.
#define FASTLOSS_OVERLAP_LOSSES(LIST)                                                  \
  LIST(dice, alone, smooth_numerator, smooth_denominator)                              \
  LIST(tversky, alone, alpha, beta, smooth_numerator, smooth_denominator)              \
  LIST(jaccard, alone, smooth_numerator, smooth_denominator)                           \
  LIST(focal_tversky, alone, alpha, beta, gamma, smooth_numerator, smooth_denominator) \
  LIST(log_cosh_dice, alone, smooth_numerator, smooth_denominator)                     \
  LIST(matthews, alone, smooth_numerator, smooth_denominator)                          \
  LIST(generalized_dice, together, power, smooth_numerator, smooth_denominator)
