// The terms of a call over ranges of its elements, tile by tile: all terms of a tile are computed
// while it lies in the L1 cache.
#pragma once

#include <atomic>
#include <type_traits>
#include <vector>

#include "cpu/elementwise/plan.h"

namespace fastloss {

// One number for each term.
using TermSums = std::vector<double>;

template <class T>
class ElementwiseTiles {
 public:
  // With `expects_binary` the losses have been told that all labels are 0 or 1: once one is not,
  // nothing more is computed.
  ElementwiseTiles(const ElementwisePlan<T>& plan, bool expects_binary)
      : plan_(plan),
        call_(plan.call),
        expects_binary_(expects_binary),
        has_hard_labels_(plan.has_hard_labels()),
        fetches_ahead_((expects_binary || has_hard_labels_) &&
                       plan.elements * (plan.label_size + plan.prediction_size) >= kStreamBytes) {}

  bool labels_were_as_expected() const { return as_expected_; }

  // Adds each term's weighted values in [begin, end) to `sums` or hands those of each tile to
  // `take`, where there is one, and writes the gradient.
  template <class Take>
  void run(int64_t begin, int64_t end, TermSums* sums, const Take& take) {
    constexpr bool kTakes = !std::is_same<Take, std::nullptr_t>::value;
    const TileOps<T>& ops = plan_.ops;
    alignas(64) T labels[kTile], predictions[kTile], columns[kTile], values[kTile], slopes[kTile],
        weights[kTile];
    const bool has_weights = plan_.has_weights(), has_columns = plan_.column_weight.data;
    for (; begin < end; begin += kTile) {
      const int64_t n = std::min(kTile, end - begin);
      const int64_t padded = ceil_div(n, kLanes) * kLanes;
      if (fetches_ahead_) {
        fetch_ahead(call_.y_true, begin, plan_.label_size);
        fetch_ahead(call_.y_pred, begin, plan_.prediction_size);
      }
      const T* const label =
          fetch(call_.y_true_dtype, plan_.label_size, call_.y_true, begin, n, padded, labels);
      const T* const prediction = fetch(call_.y_pred_dtype, plan_.prediction_size, call_.y_pred,
                                        begin, n, padded, predictions);
      if (expects_binary_ && !ops.binary(label, n)) {
        as_expected_ = false;
        return;
      }
      if (has_columns) {
        plan_.column_weight.visit(begin, n, [&](int64_t i, T value) { columns[i] = value; });
        std::fill(columns + n, columns + padded, T(1));
      }
      char* const target =
          plan_.gradient ? plan_.gradient + begin * plan_.prediction_size : nullptr;
      const bool direct = target && !plan_.streams && n == padded &&
                          plan_.gradient != call_.y_pred && call_.y_pred_dtype == dtype_of<T>();
      T* const slope = direct ? reinterpret_cast<T*>(target) : slopes;
      const bool hard = has_hard_labels_ && ops.binary(label, n);
      if (has_weights) read_weights(begin, n, weights);
      for (size_t k = 0; k < plan_.terms.size(); ++k) {
        const Term<T>& term = plan_.terms[k];
        const TileLoop<T> loop =
            hard && term.loops.hard_labels ? term.loops.hard_labels : term.loops.any;
        const auto evaluate = [&](T* value, T* total) {
          loop(term.parameters, label, prediction, nullptr, has_columns ? columns : nullptr,
               term.scale, value, total, target ? slope : nullptr, k > 0, padded);
        };
        if (sums && !has_weights && !has_columns) {
          (*sums)[k] += sum_of_values(ops, n, padded, values, evaluate);
          continue;
        }
        evaluate(sums || kTakes ? values : nullptr, nullptr);
        if (has_weights && (sums || kTakes)) ops.multiply(weights, values, n);
        if (sums) (*sums)[k] += double(ops.sum(values, n));
        if constexpr (kTakes) take(k, values);
      }
      if (has_weights && target) ops.multiply(weights, slope, n);
      if (target && !direct)
        ops.store(call_.y_pred_dtype, slope, target, n, plan_.streams, nullptr);
    }
  }

 private:
  // The tile after next: where the labels are checked first, the predictions would be asked for
  // only after that.
  static void fetch_ahead(const void* data, int64_t begin, int64_t size) {
    prefetch<2>(data, (begin + 2 * kTile) * size, kTile * size);
  }

  // The elements as T: the caller's own if they are whole vectors of it, else in `buffer`.
  const T* fetch(int32_t dtype, int64_t size, const void* data, int64_t begin, int64_t n,
                 int64_t padded, T* buffer) const {
    const char* from = static_cast<const char*>(data) + begin * size;
    if (dtype == dtype_of<T>() && n == padded) return reinterpret_cast<const T*>(from);
    plan_.ops.load(dtype, from, buffer, n);
    std::fill(buffer + n, buffer + padded, T(0.5));
    return buffer;
  }

  void read_weights(int64_t begin, int64_t n, T* weights) const {
    if (plan_.weight.data)
      plan_.weight.visit(begin, n, [&](int64_t i, T value) { weights[i] = value; });
    else
      std::fill(weights, weights + n, T(1));
    if (plan_.upstream.data)
      plan_.upstream.visit(begin, n, [&](int64_t i, T value) { weights[i] *= value; });
  }

  const ElementwisePlan<T>& plan_;
  const fastloss_elementwise& call_;
  const bool expects_binary_, has_hard_labels_, fetches_ahead_;
  std::atomic<bool> as_expected_{true};
};

}  // namespace fastloss
