// What stays the same while a call is computed.
#pragma once

#include <algorithm>
#include <vector>

#include "api/fastloss.h"
#include "cpu/elementwise/term.h"
#include "cpu/kernels/isa.h"
#include "cpu/kernels/tile.h"
#include "cpu/runtime/broadcast_weights.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {

template <class T>
struct ElementwisePlan {
  const fastloss_elementwise& call;
  const TileOps<T>& ops;
  const int64_t elements, label_size, prediction_size;
  const BroadcastWeights<T> weight, column_weight;
  BroadcastWeights<T> upstream;
  std::vector<Term<T>> terms;
  char* gradient;
  bool streams;  // the gradient is written past the caches

  ElementwisePlan(const fastloss_elementwise& call, const TileOps<T>& ops, void* gradient)
      : call(call),
        ops(ops),
        elements(call.rows * call.columns),
        label_size(dtype_size(call.y_true_dtype)),
        prediction_size(dtype_size(call.y_pred_dtype)),
        weight(weights_of<T>(call, call.columns)),
        column_weight(column_weights_of(call)),
        gradient(static_cast<char*>(gradient)),
        streams(gradient && gradient != call.y_pred && elements * prediction_size >= kStreamBytes) {
    terms.reserve(call.term_count);
    for (int32_t k = 0; k < call.term_count; ++k) terms.emplace_back(call.terms[k], ops);
  }

  bool has_weights() const { return weight.data || upstream.data; }
  bool needs_all_labels() const {
    return std::any_of(terms.begin(), terms.end(),
                       [](const Term<T>& term) { return term.loss->needs_all_labels; });
  }
  // Whether a loss is cheaper where the labels of a tile are all 0 or 1.
  bool has_hard_labels() const {
    return std::any_of(terms.begin(), terms.end(),
                       [](const Term<T>& term) { return term.loops.hard_labels; });
  }

 private:
  static BroadcastWeights<T> column_weights_of(const fastloss_elementwise& call) {
    if (!call.column_weight || !call.column_weight_count) return {};
    return {static_cast<const T*>(call.column_weight), call.column_weight_count, 1};
  }
};

}  // namespace fastloss
