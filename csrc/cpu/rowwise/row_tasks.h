// What is known of rows before their classes are looked at.
#pragma once

#include <algorithm>
#include <atomic>
#include <limits>

#include "api/error.h"
#include "cpu/rowwise/ignored_rows.h"
#include "cpu/rowwise/plan.h"
#include "cpu/runtime/labels.h"

namespace fastloss {

template <class T>
struct RowTask {
  int64_t label;
  bool skipped;  // ignored, or with a label out of range: no loss, no gradient
  T weight;      // of the loss
  T scale;       // of the gradient
};

template <class T>
struct RowTasks {
  int64_t label[kRowLanes];  // of a skipped row: 0
  bool skipped[kRowLanes], any_skipped;
  Lanes<T> weight, scale;

  RowTask<T> at(int64_t k) const { return {label[k], skipped[k], weight.lane[k], scale.lane[k]}; }
};

template <class T>
class RowTaskReader {
 public:
  // Gradients are multiplied by `scale` and, where `upstream` is not null, by a number of it each.
  RowTaskReader(const RowwisePlan<T>& plan, const IgnoredRows<T>& ignored, T scale,
                const T* upstream)
      : plan_(plan), ignored_(ignored), scale_(by_raw_logits(plan, scale)), upstream_(upstream) {}

  // Of `count` rows from `first` on, up to kRowLanes of them.
  void read(int64_t first, int64_t count, RowTasks<T>* tasks) {
    std::fill(tasks->skipped, tasks->skipped + kRowLanes, false);
    tasks->any_skipped = false;
    if (plan_.sparse) {
      read_classes(first, count, tasks);
    } else if (plan_.call.has_ignore_class) {
      ignored_.read(first, count, tasks->skipped);
      tasks->any_skipped =
          std::any_of(tasks->skipped, tasks->skipped + count, [](bool skipped) { return skipped; });
    }
    std::fill(tasks->weight.lane, tasks->weight.lane + kRowLanes, T(1));
    if (plan_.weight.data)
      plan_.weight.visit(first, count,
                         [&](int64_t k, T weight) { tasks->weight.lane[k] = weight; });
    for (int64_t k = 0; k < kRowLanes; ++k) tasks->scale.lane[k] = scale_ * tasks->weight.lane[k];
    if (upstream_)
      for (int64_t k = 0; k < count; ++k) tasks->scale.lane[k] *= upstream_[first + k];
  }

  // Fails for a label that is no class.
  int check_labels() const {
    const int64_t row = bad_row_.load();
    if (row == kNoRow) return 0;
    int64_t label;
    read_labels(plan_.label.dtype, plan_.label.data, row, 1, &label);
    const int64_t classes = plan_.call.classes;
    return fail(
        "%s: the label of row %lld is %lld; expected 0 to %lld, as y_pred has %lld classes%s",
        plan_.call.loss, static_cast<long long>(row), static_cast<long long>(label),
        static_cast<long long>(classes - 1), static_cast<long long>(classes),
        plan_.call.has_ignore_class ? ", or ignore_class" : "");
  }

 private:
  static constexpr int64_t kNoRow = std::numeric_limits<int64_t>::max();

  // The scale of a gradient by logits before their temperature.
  static T by_raw_logits(const RowwisePlan<T>& plan, T scale) {
    const bool scales = plan.prediction.scales_logits || plan.loops.label == Normalization::softmax;
    return scales ? scale / T(plan.call.temperature) : scale;
  }

  void read_classes(int64_t first, int64_t count, RowTasks<T>* tasks) {
    read_labels(plan_.label.dtype, plan_.label.data, first, count, tasks->label);
    std::fill(tasks->label + count, tasks->label + kRowLanes, int64_t(0));
    const uint64_t classes = plan_.call.classes;
    const uint64_t ignored =
        plan_.call.has_ignore_class ? uint64_t(plan_.call.ignore_class) : classes;
    // Most blocks have nothing to skip, which a loop without branches finds out.
    bool any_skipped = false;
    for (int64_t k = 0; k < kRowLanes; ++k) {
      const uint64_t label = tasks->label[k];
      any_skipped |= (label >= classes) | (label == ignored);
    }
    if (any_skipped) skip_labels(first, count, tasks);
  }

  void skip_labels(int64_t first, int64_t count, RowTasks<T>* tasks) {
    for (int64_t k = 0; k < count; ++k) {
      const bool ignored =
          plan_.call.has_ignore_class && tasks->label[k] == plan_.call.ignore_class;
      const bool is_class = uint64_t(tasks->label[k]) < uint64_t(plan_.call.classes);
      if (is_class && !ignored) continue;
      tasks->skipped[k] = tasks->any_skipped = true;
      tasks->label[k] = 0;
      if (!ignored) report_bad(first + k);
    }
  }

  // The first bad row is reported, whichever thread finds one first.
  void report_bad(int64_t row) {
    int64_t known = bad_row_.load();
    while (row < known && !bad_row_.compare_exchange_weak(known, row)) {
    }
  }

  const RowwisePlan<T>& plan_;
  const IgnoredRows<T>& ignored_;
  const T scale_;
  const T* const upstream_;
  std::atomic<int64_t> bad_row_{kNoRow};
};

}  // namespace fastloss
