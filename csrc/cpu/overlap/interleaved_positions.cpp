#include "cpu/overlap/interleaved_positions.h"

#include "cpu/runtime/labels.h"

namespace fastloss {

template <class T>
void InterleavedReader<T>::clear_skipped(const InterleavedPositions<T>& positions,
                                         T* numbers) const {
  if (!positions.any_skipped) return;
  for (int64_t k = 0; k < kRowLanes; ++k)
    if (positions.skipped[k])
      for (int64_t c = 0; c < plan_.call.classes; ++c) numbers[c * kRowLanes + k] = T(0);
}

template <class T>
void InterleavedReader<T>::read_class_labels(InterleavedPositions<T>* positions) const {
  const fastloss_overlap& call = plan_.call;
  const Matrix& label = plan_.label;
  const int64_t first = positions->first, count = positions->count;
  // A position has one label to many predictions: too few for the hardware to see them coming.
  constexpr int64_t kAhead = 16 * kRowLanes;
  prefetch<1>(label.data, (first + kAhead) * label.size, kRowLanes * label.size);
  read_labels(label.dtype, label.data, first, count, positions->class_label);
  for (int64_t k = 0; k < count; ++k) {
    const int64_t c = positions->class_label[k];
    const bool ignored = call.has_ignore_class && c == call.ignore_class;
    const bool is_class = uint64_t(c) < uint64_t(call.classes);
    if (is_class && !ignored) continue;
    positions->skipped[k] = positions->any_skipped = true;
    positions->class_label[k] = 0;
    if (!ignored) positions->bad_position = std::min(positions->bad_position, first + k);
  }
}

template <class T>
void InterleavedReader<T>::read_label_rows(const InterleavedBuffers<T>& buffers,
                                           InterleavedPositions<T>* positions) const {
  const fastloss_overlap& call = plan_.call;
  positions->label = buffers.label;
  plan_.rows.load(plan_.label, positions->first, positions->count, buffers.rows, buffers.label);
  if (!call.has_ignore_class) return;
  for (int64_t k = 0; k < positions->count; ++k) {
    bool ignored = true;
    for (int64_t c = 0; c < call.classes; ++c)
      ignored &= c == call.ignore_class || buffers.label[c * kRowLanes + k] == 0;
    positions->skipped[k] = ignored;
    positions->any_skipped |= ignored;
  }
  clear_skipped(*positions, buffers.label);
}

template <class T>
void InterleavedReader<T>::softmax(const InterleavedBuffers<T>& buffers,
                                   InterleavedPositions<T>* positions) const {
  const int64_t size = plan_.layout.period;
  const RowOps<T>& row_ops = plan_.row_ops;
  RowNormalizer<T>& row = positions->state.prediction;
  Lanes<T> sum;
  fill(&sum, T(-0.0));
  fill(&row.shift, -std::numeric_limits<T>::infinity());
  row_ops.maxima(buffers.prediction, size, &row.shift);
  for (T& shift : row.shift.lane)
    if (shift == -std::numeric_limits<T>::infinity()) shift = T(0);
  row_ops.exps(buffers.prediction, size, row.shift, true, buffers.exps, &sum,
               plan_.rows.next(plan_.prediction, positions->first, buffers.prediction), 0);
  for (int64_t k = 0; k < kRowLanes; ++k) row.factor.lane[k] = T(1) / sum.lane[k];
  if (!plan_.fused_terms.empty()) row_ops.log(sum, &row.log_sum);
  plan_.overlap_ops.softmax(buffers.exps, size, row.factor, buffers.probability);
}

template <class T>
void InterleavedReader<T>::read(const InterleavedBuffers<T>& buffers,
                                InterleavedPositions<T>* positions) const {
  const int64_t size = plan_.layout.period;
  std::fill_n(positions->class_label, kRowLanes, int64_t(0));
  std::fill(positions->skipped, positions->skipped + positions->count, false);
  std::fill(positions->skipped + positions->count, positions->skipped + kRowLanes, true);
  positions->any_skipped = positions->count < kRowLanes;
  positions->bad_position = std::numeric_limits<int64_t>::max();
  positions->label = nullptr;
  if (plan_.call.sparse)
    read_class_labels(positions);
  else
    read_label_rows(buffers, positions);

  plan_.rows.load(plan_.prediction, positions->first, positions->count, buffers.rows,
                  buffers.prediction);
  if (plan_.call.activation == FASTLOSS_SOFTMAX)
    softmax(buffers, positions);
  else if (plan_.call.activation == FASTLOSS_SIGMOID)
    plan_.overlap_ops.sigmoid(buffers.prediction, size, buffers.exps, buffers.probability);
  else
    std::copy_n(buffers.prediction, size, buffers.probability);
  clear_skipped(*positions, buffers.probability);
  positions->block = {buffers.label, nullptr, buffers.prediction, buffers.exps, size};
}

template <class T>
void InterleavedReader<T>::write(const InterleavedPositions<T>& positions,
                                 const InterleavedBuffers<T>& buffers, char* gradient,
                                 bool stream) const {
  clear_skipped(positions, buffers.gradient);
  plan_.rows.store(positions.first, positions.count, buffers.gradient, buffers.rows,
                   plan_.prediction.dtype, gradient, stream);
}

template class InterleavedReader<float>;
template class InterleavedReader<double>;

}  // namespace fastloss
