// An elementwise loss in a pass that adds several up.
#pragma once

#include "api/elementwise_call.h"
#include "api/fastloss.h"
#include "cpu/kernels/tile.h"

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

  // The one parameter of a loss that needs all labels: whether they are all 0 or 1.
  void set_labels(bool all_binary) {
    if (loss->needs_all_labels) parameters[0] = all_binary;
  }
};

}  // namespace fastloss
