// An elementwise loss in a walk that adds several up.
#pragma once

#include "api/elementwise_call.h"
#include "api/fastloss.h"
#include "cpu/kernels/tile.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {

template <class T>
struct Term {
  const ElementwiseLoss* loss;
  TileLoops<T> loops;
  double factor;
  double reduction = 1;  // what the sum of the values is multiplied by, before the factor
  T scale = 1;           // what the slopes are multiplied by
  double parameters[kMaxParameters] = {};

  Term(const fastloss_term& term, const TileOps<T>& ops)
      : loss(find_loss(kElementwiseLosses, term.loss)),
        loops(ops.find(term.loss, term.parameters)),
        factor(term.factor) {
    std::copy(term.parameters, term.parameters + term.parameter_count, parameters);
  }

  void reduce(int64_t columns, double divisor, T upstream) {
    const double of_row = loss->mean ? 1.0 / double(columns) : 1.0;
    reduction = divisor == 0 ? 0 : of_row / divisor;
    scale = T(factor * reduction) * upstream;
  }
};

// What the sum over the rows is divided by.
template <class T, class Call>
double divisor_of(const Call& call, const Pattern<T>& weight) {
  if (call.reduction == FASTLOSS_NONE || call.reduction == FASTLOSS_SUM) return 1;
  double divisor = double(call.rows);
  if (call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT && weight.data) {
    divisor = 0;
    for (int64_t i = 0; i < weight.count; ++i) divisor += double(weight.data[i]);
    if (call.weight_expansion > 1) divisor /= double(call.weight_expansion);
  }
  return divisor * call.replicas;
}

}  // namespace fastloss
