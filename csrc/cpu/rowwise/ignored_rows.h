// Which rows have the ignored class.
#pragma once

#include <vector>

#include "cpu/rowwise/plan.h"

namespace fastloss {

template <class T>
class IgnoredRows {
 public:
  // Reads labels that are rows: such a one is ignored if it is 0 outside of the ignored class.
  explicit IgnoredRows(const RowwisePlan<T>& plan);

  // Of `count` rows from `first` on, up to kRowLanes of them.
  void read(int64_t first, int64_t count, bool* ignored) const;

  // Of the rows that are not ignored: how many, and what their weights add up to, in order.
  int64_t count_others() const;
  double weight_of_others() const;

 private:
  bool is_zero_elsewhere(int64_t row) const;

  const RowwisePlan<T>& plan_;
  std::vector<uint8_t> dense_;  // of labels that are rows
};

extern template class IgnoredRows<float>;
extern template class IgnoredRows<double>;

}  // namespace fastloss
