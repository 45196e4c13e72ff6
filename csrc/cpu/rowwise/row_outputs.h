// What a pass writes.
#pragma once

#include <cstdint>

namespace fastloss {

// Any of the pointers may be null.
template <class T>
struct RowOutputs {
  char* gradient;
  bool stream;  // the gradient goes past the caches
  T *loss, *log_sum_exp;
  uint8_t* hit;

  bool has_metrics() const { return loss || log_sum_exp || hit; }
  void write_metrics(int64_t row, T row_loss, T row_log_sum_exp, bool is_hit) const {
    if (loss) loss[row] = row_loss;
    if (log_sum_exp) log_sum_exp[row] = row_log_sum_exp;
    if (hit) hit[row] = is_hit;
  }
};

}  // namespace fastloss
