// How losses become one number.
#pragma once

#include "api/call.h"

namespace fastloss {

// Whether the weights are added up for the divisor.
template <class Call>
bool divides_by_weights(const Call& call) {
  return call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT && call.weight && call.weight_count;
}

// What the sum of `losses` numbers is divided by, which may be 0; `T` is the type of the weights,
// in memory that this function can read.
template <class T, class Call>
double divisor_of(const Call& call, int64_t losses) {
  if (call.reduction == FASTLOSS_NONE || call.reduction == FASTLOSS_SUM) return 1;
  double divisor = double(losses);
  if (divides_by_weights(call)) {
    divisor = 0;
    const T* const weight = static_cast<const T*>(call.weight);
    for (int64_t i = 0; i < call.weight_count; ++i) divisor += double(weight[i]);
    if (call.weight_expansion > 1) divisor /= double(call.weight_expansion);
  }
  return divisor * call.replicas;
}

}  // namespace fastloss
