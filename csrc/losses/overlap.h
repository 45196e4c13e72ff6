// The losses of region sums. A functor sees what a group of positions adds up to and gives its loss
// with the slopes by two of the sums; the third is of the labels alone. Parameters arrive in the
// order that LIST names them.
#pragma once

#include <cmath>
#include <cstdint>

#include "losses/target.h"

namespace fastloss {

struct OverlapSums {
  double intersection, prediction, label;
};

struct GroupLoss {
  double value, intersection, prediction;
};

// 1 - numerator / denominator; the slopes are those of both by the two sums.
FASTLOSS_INLINE GroupLoss one_minus(double numerator, double denominator, GroupLoss numerator_slope,
                                    GroupLoss denominator_slope) {
  const double ratio = numerator / denominator;
  return {1 - ratio,
          (ratio * denominator_slope.intersection - numerator_slope.intersection) / denominator,
          (ratio * denominator_slope.prediction - numerator_slope.prediction) / denominator};
}

FASTLOSS_INLINE GroupLoss chained(GroupLoss inner, double value, double slope) {
  // An infinite inner slope that is not followed must not make NaN.
  if (slope == 0) return {value, 0, 0};
  return {value, slope * inner.intersection, slope * inner.prediction};
}

struct dice {
  double smooth_numerator, smooth_denominator;
  explicit dice(const double* parameters)
      : smooth_numerator(parameters[0]), smooth_denominator(parameters[1]) {}
  FASTLOSS_INLINE GroupLoss operator()(OverlapSums sums) const {
    return one_minus(2 * sums.intersection + smooth_numerator,
                     sums.prediction + sums.label + smooth_denominator, {0, 2, 0}, {0, 0, 1});
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
    return one_minus(sums.intersection + smooth_numerator,
                     sums.intersection + alpha * missed + beta * wrong + smooth_denominator,
                     {0, 1, 0}, {0, 1 - alpha - beta, beta});
  }
};

struct jaccard {
  double smooth_numerator, smooth_denominator;
  explicit jaccard(const double* parameters)
      : smooth_numerator(parameters[0]), smooth_denominator(parameters[1]) {}
  FASTLOSS_INLINE GroupLoss operator()(OverlapSums sums) const {
    return one_minus(sums.intersection + smooth_numerator,
                     sums.prediction + sums.label - sums.intersection + smooth_denominator,
                     {0, 1, 0}, {0, -1, 1});
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

// Of all classes together, each weighed by a power of its labels.
struct generalized_dice {
  double power, smooth_numerator, smooth_denominator;
  explicit generalized_dice(const double* parameters)
      : power(parameters[0]), smooth_numerator(parameters[1]), smooth_denominator(parameters[2]) {}
  // points[c].value is where the weight of class c is kept; the loss is returned.
  FASTLOSS_INLINE double operator()(const OverlapSums* sums, const double* class_weight,
                                    int64_t classes, GroupLoss* points) const {
    double largest = 0;
    for (int64_t c = 0; c < classes; ++c) {
      points[c].value = sums[c].label > 0 ? std::pow(sums[c].label, -power) : 0.0;
      if (points[c].value > largest) largest = points[c].value;
    }
    double intersection = 0, total = 0;
    for (int64_t c = 0; c < classes; ++c) {
      if (!(sums[c].label > 0)) points[c].value = largest > 0 ? largest : 1.0;
      if (class_weight) points[c].value *= class_weight[c];
      intersection += points[c].value * sums[c].intersection;
      total += points[c].value * (sums[c].prediction + sums[c].label);
    }
    const GroupLoss loss = one_minus(2 * intersection + smooth_numerator,
                                     total + smooth_denominator, {0, 2, 0}, {0, 0, 1});
    for (int64_t c = 0; c < classes; ++c) {
      const double weight = points[c].value;
      points[c] = {loss.value, weight * loss.intersection, weight * loss.prediction};
    }
    return loss.value;
  }
};

}  // namespace fastloss

// LIST(loss, classes, parameters...): a loss of each group `alone`, or of the classes `together`.
#define FASTLOSS_OVERLAP_LOSSES(LIST)                                                  \
  LIST(dice, alone, smooth_numerator, smooth_denominator)                              \
  LIST(tversky, alone, alpha, beta, smooth_numerator, smooth_denominator)              \
  LIST(jaccard, alone, smooth_numerator, smooth_denominator)                           \
  LIST(focal_tversky, alone, alpha, beta, gamma, smooth_numerator, smooth_denominator) \
  LIST(log_cosh_dice, alone, smooth_numerator, smooth_denominator)                     \
  LIST(generalized_dice, together, power, smooth_numerator, smooth_denominator)
