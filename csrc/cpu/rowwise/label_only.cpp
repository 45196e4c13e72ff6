#include "cpu/rowwise/label_only.h"

#include "cpu/kernels/tile.h"
#include "cpu/rowwise/row_chunks.h"
#include "cpu/runtime/scratch.h"

namespace fastloss {
namespace {

template <class T>
class LabelOnlyPass {
 public:
  LabelOnlyPass(const RowwisePlan<T>& plan, const RowOutputs<T>& outputs, RowTaskReader<T>* tasks)
      : plan_(plan), chunks_(plan), tasks_(*tasks), outputs_(outputs) {}

  double run(int64_t begin, int64_t end) const;

 private:
  void store_gradient(int64_t row, const RowTask<T>& task, T slope, T* zeros, OpenLine* open) const;

  const RowwisePlan<T>& plan_;
  const RowChunks<T> chunks_;
  RowTaskReader<T>& tasks_;
  const RowOutputs<T>& outputs_;
};

template <class T>
double LabelOnlyPass<T>::run(int64_t begin, int64_t end) const {
  Scratch scratch(2 * kChunk * int64_t(sizeof(T)));
  T *const zeros = scratch.take<T>(kChunk), *const buffer = scratch.take<T>(kChunk);
  std::fill(zeros, zeros + kChunk, T(0));
  OpenLine open;
  RowTasks<T> tasks;
  double total = 0;
  for (int64_t first = begin; first < end; first += kRowLanes) {
    const int64_t count = std::min<int64_t>(kRowLanes, end - first);
    tasks_.read(first, count, &tasks);
    Lanes<T> x, value, slope;
    fill(&x, T(1));
    for (int64_t k = 0; k < count; ++k)
      if (!tasks.skipped[k]) x.lane[k] = chunks_.prediction(first + k, tasks.label[k]);
    plan_.loops.sparse.at_label(plan_.call.parameters, x, x, &value, &slope);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t row = first + k;
      const RowTask<T> task = tasks.at(k);
      const T weight = task.skipped ? T(0) : plan_.class_weight_of(task.label);
      const T loss = task.skipped ? T(0) : weight * value.lane[k] * task.weight;
      // Before the gradient, which may overwrite the predictions.
      const bool hit = outputs_.hit && !task.skipped &&
                       chunks_.first_largest(plan_.prediction, row, buffer) == task.label;
      outputs_.write_metrics(row, loss, T(0), hit);
      total += double(loss);
      if (outputs_.gradient)
        store_gradient(row, task, weight * slope.lane[k] * task.scale, zeros, &open);
    }
  }
  plan_.ops.close(&open);
  return total;
}

// The slope of the label among zeros.
template <class T>
void LabelOnlyPass<T>::store_gradient(int64_t row, const RowTask<T>& task, T slope, T* zeros,
                                      OpenLine* open) const {
  for (int64_t index = 0; index < chunks_.count(); ++index) {
    const Chunk chunk = chunks_.at(index);
    const bool has_label = !task.skipped && chunk.contains(task.label);
    if (has_label) zeros[task.label - chunk.begin] = slope;
    plan_.ops.store(plan_.prediction.dtype, zeros, chunks_.target(outputs_.gradient, row, chunk),
                    chunk.size, outputs_.stream, open);
    if (has_label) zeros[task.label - chunk.begin] = T(0);
  }
}

}  // namespace

template <class T>
double run_label_only(const RowwisePlan<T>& plan, const RowOutputs<T>& outputs, int64_t begin,
                      int64_t end, RowTaskReader<T>* tasks) {
  return LabelOnlyPass<T>(plan, outputs, tasks).run(begin, end);
}

template double run_label_only(const RowwisePlan<float>&, const RowOutputs<float>&, int64_t,
                               int64_t, RowTaskReader<float>*);
template double run_label_only(const RowwisePlan<double>&, const RowOutputs<double>&, int64_t,
                               int64_t, RowTaskReader<double>*);

}  // namespace fastloss
