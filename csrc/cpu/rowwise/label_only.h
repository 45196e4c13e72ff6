// Long rows of which neither the loss nor its gradient looks at classes other than the label's: the
// lanes are rows.
#pragma once

#include "cpu/kernels/tile.h"
#include "cpu/rowwise/row_chunks.h"
#include "cpu/rowwise/row_outputs.h"
#include "cpu/rowwise/row_tasks.h"

namespace fastloss {

template <class T>
class LabelOnlyPass {
 public:
  LabelOnlyPass(const RowwisePlan<T>& plan, RowTaskReader<T>* tasks, const RowOutputs<T>& outputs)
      : plan_(plan), chunks_(plan), tasks_(*tasks), outputs_(outputs) {}

  // The sum of the losses of [begin, end).
  double run(int64_t begin, int64_t end) const;

 private:
  void store_gradient(int64_t row, const RowTask<T>& task, T slope, T* zeros, OpenLine* open) const;

  const RowwisePlan<T>& plan_;
  const RowChunks<T> chunks_;
  RowTaskReader<T>& tasks_;
  const RowOutputs<T>& outputs_;
};

extern template class LabelOnlyPass<float>;
extern template class LabelOnlyPass<double>;

}  // namespace fastloss
