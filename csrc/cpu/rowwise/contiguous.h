// Long rows, one after the other: the lanes are classes. A row that fits the caches is read from
// memory once.
#pragma once

#include "cpu/rowwise/contiguous_row.h"
#include "cpu/rowwise/row_tasks.h"

namespace fastloss {

template <class T>
class ContiguousPass {
 public:
  ContiguousPass(const RowwisePlan<T>& plan, RowTaskReader<T>* tasks, const RowOutputs<T>& outputs)
      : plan_(plan), chunks_(plan), tasks_(*tasks), outputs_(outputs) {}

  // The sum of the losses of [begin, end).
  double run(int64_t begin, int64_t end) const;

 private:
  T evaluate(int64_t row, const RowTask<T>& task, ContiguousBuffers<T>* buffers) const;
  void skip(int64_t row) const;
  Normalizer normalizer(int64_t row, const ContiguousBuffers<T>& buffers) const;
  bool is_hit(int64_t row, const RowTask<T>& task, const Normalizer& n, T* buffer) const;

  const RowwisePlan<T>& plan_;
  const RowChunks<T> chunks_;
  RowTaskReader<T>& tasks_;
  const RowOutputs<T>& outputs_;
};

extern template class ContiguousPass<float>;
extern template class ContiguousPass<double>;

}  // namespace fastloss
