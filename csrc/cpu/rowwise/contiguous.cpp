#include "cpu/rowwise/contiguous.h"

#include <cstring>

#include "cpu/rowwise/contiguous_dense.h"
#include "cpu/rowwise/contiguous_label.h"

namespace fastloss {
namespace {

template <class T>
class ContiguousPass {
 public:
  ContiguousPass(const RowwisePlan<T>& plan, const RowOutputs<T>& outputs, RowTaskReader<T>* tasks)
      : plan_(plan), chunks_(plan), tasks_(*tasks), outputs_(outputs) {}

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

template <class T>
double ContiguousPass<T>::run(int64_t begin, int64_t end) const {
  const bool caches = plan_.call.classes <= RowSoftmax<T>::kLongestCachedRow &&
                      (outputs_.gradient || !plan_.at_label);
  ContiguousBuffers<T> buffers(plan_, chunks_, caches);
  RowTasks<T> tasks;
  double total = 0;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t k = (row - begin) % kRowLanes;
    if (k == 0) tasks_.read(row, std::min<int64_t>(kRowLanes, end - row), &tasks);
    if (tasks.skipped[k])
      skip(row);
    else
      total += double(evaluate(row, tasks.at(k), &buffers));
  }
  plan_.ops.close(&buffers.open);
  return total;
}

template <class T>
void ContiguousPass<T>::skip(int64_t row) const {
  const int64_t bytes = plan_.call.classes * plan_.prediction.size;
  if (outputs_.gradient) std::memset(outputs_.gradient + row * bytes, 0, bytes);
  outputs_.write_metrics(row, T(0), T(0), false);
}

template <class T>
T ContiguousPass<T>::evaluate(int64_t row, const RowTask<T>& task,
                              ContiguousBuffers<T>* buffers) const {
  const Normalizer n = normalizer(row, *buffers);
  // Before the gradient, which may overwrite the predictions.
  const bool hit = outputs_.hit && is_hit(row, task, n, buffers->prediction);
  T value = plan_.at_label
                ? LabelRow<T>{plan_, chunks_, outputs_, row, task, n, *buffers}.evaluate()
                : DenseRow<T>{plan_, chunks_, outputs_, row, task, n, *buffers}.evaluate();
  const T log_sum_exp = T(n.log_sum_exp());
  if (plan_.call.z_loss != 0) value += T(plan_.call.z_loss) * log_sum_exp * log_sum_exp;
  value *= task.weight;
  outputs_.write_metrics(row, value, log_sum_exp, hit);
  return value;
}

template <class T>
Normalizer ContiguousPass<T>::normalizer(int64_t row, const ContiguousBuffers<T>& buffers) const {
  switch (plan_.loops.prediction) {
    case Normalization::softmax:
      return buffers.prediction_softmax.normalizer(row, buffers.prediction);
    case Normalization::sum:
      return sum_normalizer(plan_, chunks_, row, buffers.prediction);
    case Normalization::none:
      break;
  }
  return {};
}

// Whether the label is the first of the largest classes.
template <class T>
bool ContiguousPass<T>::is_hit(int64_t row, const RowTask<T>& task, const Normalizer& n,
                               T* buffer) const {
  const RowMatrix<T>& prediction = plan_.prediction;
  if (!plan_.sparse)
    return chunks_.first_largest(prediction, row, buffer) ==
           chunks_.first_largest(plan_.label, row, buffer);
  // The maximum of the softmax is known, but scaled logits may not tell two classes apart.
  if (prediction.normalization != Normalization::softmax || prediction.scales_logits)
    return chunks_.first_largest(prediction, row, buffer) == task.label;
  return double(chunks_.prediction(row, task.label)) == n.maximum &&
         chunks_.first_reaching(prediction, row, chunks_.at(n.maximum_chunk), T(n.maximum),
                                buffer) == task.label;
}

}  // namespace

template <class T>
double run_contiguous(const RowwisePlan<T>& plan, const RowOutputs<T>& outputs, int64_t begin,
                      int64_t end, RowTaskReader<T>* tasks) {
  return ContiguousPass<T>(plan, outputs, tasks).run(begin, end);
}

template double run_contiguous(const RowwisePlan<float>&, const RowOutputs<float>&, int64_t,
                               int64_t, RowTaskReader<float>*);
template double run_contiguous(const RowwisePlan<double>&, const RowOutputs<double>&, int64_t,
                               int64_t, RowTaskReader<double>*);

}  // namespace fastloss
