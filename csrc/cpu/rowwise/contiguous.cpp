#include "cpu/rowwise/contiguous.h"

#include <cstring>

namespace fastloss {
namespace {

// Labels are fetched with the logits of a row if all of it stays in a cache of so many bytes.
constexpr int64_t kSecondCache = int64_t(1) << 19;

template <class T>
bool fetches_labels(const RowwisePlan<T>& plan) {
  const int64_t bytes_per_class = plan.prediction.size + plan.label.size + int64_t(sizeof(T));
  return !plan.sparse && plan.call.classes * bytes_per_class <= kSecondCache;
}

}  // namespace

template <class T>
ContiguousBuffers<T>::ContiguousBuffers(const RowwisePlan<T>& plan, const RowChunks<T>& chunks,
                                        bool caches)
    : scratch(4 * kChunk * int64_t(sizeof(T)) +
              2 * RowSoftmax<T>::bytes(chunks, plan.call.classes)),
      label(scratch.take<T>(kChunk)),
      prediction(scratch.take<T>(kChunk)),
      slope(scratch.take<T>(kChunk)),
      gradient(scratch.take<T>(kChunk)),
      prediction_softmax(plan, chunks, plan.prediction,
                         fetches_labels(plan) ? &plan.label : nullptr, caches, &scratch),
      label_softmax(plan, chunks, plan.label, nullptr, caches, &scratch) {}

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

template struct ContiguousBuffers<float>;
template struct ContiguousBuffers<double>;
template class ContiguousPass<float>;
template class ContiguousPass<double>;

}  // namespace fastloss
