// What sums are multiplied by for the mean over rows, groups or boxes, and where a call's scratch
// holds what that takes.
#pragma once

#include "api/call.h"
#include "cuda/common/summary.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// 1 / divisor, and 0 for a divisor of 0.
struct Inverse {
  double value = 1;
  const double* at = nullptr;  // where that is known on the device only, or null

  // factor / divisor
  FASTLOSS_INLINE double operator()(double factor) const {
    const double inverse = at ? *at : value;
    return inverse == 0 ? 0 : factor * inverse;
  }
};

template <class Call>
bool divisor_on_device(const Call& call) {
  return call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT && call.weight && call.weight_count;
}

// Scratch from `begin` on.
struct InverseScratch {
  static constexpr int64_t kWeightTile = 8 * kThreads;

  Pieces weights;
  int64_t inverse, partials, end;

  template <class Call>
  InverseScratch(const Call& call, int64_t begin) : inverse(begin), partials(begin), end(begin) {
    if (!divisor_on_device(call)) return;
    weights = Pieces(call.weight_count, kWeightTile);
    partials = inverse + int64_t(sizeof(double));
    end = partials + weights.count * int64_t(sizeof(double));
  }
};

// Of `count` rows, groups or boxes, of which not all need have a weight of their own.
template <class Call>
Inverse inverse_of(const Call& call, double count, const InverseScratch& layout, char* scratch) {
  Inverse inverse;
  if (divisor_on_device(call)) {
    inverse.at = reinterpret_cast<const double*>(scratch + layout.inverse);
  } else if (call.reduction == FASTLOSS_MEAN ||
             call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT) {
    const double divisor = count * call.replicas;
    inverse.value = divisor == 0 ? 0 : 1 / divisor;
  }
  return inverse;
}

// Adds up the weights where the divisor asks for it.
template <class T, class Call>
int start_inverse(const Call& call, const InverseScratch& layout, char* scratch, void* stream) {
  if (!divisor_on_device(call)) return 0;
  Divisor divisor{};
  divisor.pieces = layout.weights;
  divisor.partials = reinterpret_cast<double*>(scratch + layout.partials);
  divisor.multiplier = double(call.replicas);
  if (call.weight_expansion > 1) divisor.multiplier /= double(call.weight_expansion);
  divisor.inverse = reinterpret_cast<double*>(scratch + layout.inverse);
  return launch_divisor(static_cast<const T*>(call.weight), divisor, stream);
}

// The loss and each term's out of partial sums, (terms, pieces).
template <class T>
int start_summary(const Summary<T>& summary, double* partials, const Inverse& inverse,
                  void* stream) {
  ElementwiseWalk<T> walk{};
  walk.partials = partials;
  walk.inverse = inverse.value;
  walk.inverse_at = inverse.at;
  return launch_summary(summary, walk, stream);
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
