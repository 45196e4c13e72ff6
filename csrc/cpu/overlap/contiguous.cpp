#include "cpu/overlap/contiguous.h"

#include "cpu/runtime/scratch.h"

namespace fastloss {

template <class T>
struct ContiguousStrategy<T>::Buffers {
  Scratch scratch;
  T *label, *prediction, *exp_neg_abs, *probability, *gradient, *values;
  T *sums, *by_intersection, *by_prediction;

  Buffers(int64_t block, int64_t period)
      : scratch((6 * (block + kPadding) + 5 * (period + kPadding)) * int64_t(sizeof(T))) {
    for (T** buffer : {&label, &prediction, &exp_neg_abs, &probability, &gradient, &values})
      *buffer = scratch.take<T>(block);
    sums = scratch.take<T>(3 * period);
    by_intersection = scratch.take<T>(period);
    by_prediction = scratch.take<T>(period);
  }

 private:
  static constexpr int64_t kPadding = 64 / sizeof(T);  // to the next cache line
};

// What is not needed is null.
template <class T>
struct ContiguousStrategy<T>::Block {
  int64_t begin, element;  // in the chunk, and in the tensor
  int64_t size, padded;    // to whole periods
  const T *label, *prediction, *probability;
  const T* exp_neg_abs;                              // of the predictions
  const typename LabelBits<T>::Word* packed_labels;  // of the chunk, instead of `label`
};

template <class T>
ContiguousStrategy<T>::ContiguousStrategy(const OverlapPlan<T>& plan, bool gradient_follows)
    : plan_(plan), packed_labels_(plan.overlap_ops) {
  const OverlapLayout& layout = plan.layout;
  // The second pass finds labels that fit into the caches there.
  if (gradient_follows && layout.elements() * plan.label.size >= kStreamBytes)
    packed_labels_.open(layout.chunks(), layout.rows_per_chunk * layout.columns);
}

// Whether anything but the sums is computed from each prediction.
template <class T>
bool ContiguousStrategy<T>::has_intermediates() const {
  return plan_.call.activation == FASTLOSS_SIGMOID || !plan_.fused_terms.empty();
}

template <class T>
int64_t ContiguousStrategy<T>::block_size() const {
  // Intermediate results are to fit into the first cache with the rest.
  const int64_t block = has_intermediates() ? 512 : 1024;
  return std::max<int64_t>(1, block / plan_.layout.period) * plan_.layout.period;
}

template <class T>
const T* ContiguousStrategy<T>::load(const Matrix& from, const Block& block, T* buffer) const {
  const char* const data = from.data + block.element * from.size;
  if (from.dtype == dtype_of<T>() && block.size == block.padded)
    return reinterpret_cast<const T*>(data);
  plan_.ops.load(from.dtype, data, buffer, block.size);
  std::fill(buffer + block.size, buffer + block.padded, T(0));
  return buffer;
}

template <class T>
void ContiguousStrategy<T>::load_label(const OverlapChunk& chunk, bool packed,
                                       const Buffers& buffers, Block* block) const {
  if (!packed) {
    block->label = load(plan_.label, *block, buffers.label);
  } else if (plan_.fused_terms.empty()) {
    block->packed_labels = packed_labels_.words(chunk.index);
  } else {
    packed_labels_.unpack(chunk.index, block->begin, block->padded, buffers.label);
    block->label = buffers.label;
  }
}

template <class T>
void ContiguousStrategy<T>::load_prediction(const Buffers& buffers, Block* block) const {
  block->prediction = block->probability = load(plan_.prediction, *block, buffers.prediction);
  if (plan_.call.activation != FASTLOSS_SIGMOID) return;
  plan_.overlap_ops.sigmoid(block->prediction, block->padded, buffers.exp_neg_abs,
                            buffers.probability);
  std::fill(buffers.probability + block->size, buffers.probability + block->padded, T(0));
  block->exp_neg_abs = buffers.exp_neg_abs;
  block->probability = buffers.probability;
}

template <class T>
template <class Body>
void ContiguousStrategy<T>::for_each_block(const OverlapChunk& chunk, bool for_gradient,
                                           const Buffers& buffers, const Body& body) const {
  const OverlapLayout& layout = plan_.layout;
  const int64_t size = chunk.rows * layout.columns;
  const bool packed = for_gradient && packed_labels_.is_packed(chunk.index);
  const bool needs_prediction = !for_gradient || plan_.call.squared || has_intermediates();
  for (int64_t begin = 0; begin < size; begin += block_size()) {
    Block block = {};
    block.begin = begin;
    block.element = layout.first_element(chunk) + begin;
    block.size = std::min(block_size(), size - begin);
    block.padded = ceil_div(block.size, layout.period) * layout.period;
    load_label(chunk, packed, buffers, &block);
    if (needs_prediction) load_prediction(buffers, &block);
    body(block);
  }
}

template <class T>
void ContiguousStrategy<T>::sum(const OverlapChunk& chunk, ChunkSums* sums) {
  const Buffers buffers(block_size(), plan_.layout.period);
  SumCollector<T> collector(plan_, buffers.sums);
  for_each_block(chunk, false, buffers, [&](const Block& block) {
    collector.add(block.label, block.probability, block.padded, sums);
    packed_labels_.pack(chunk.index, block.begin, block.label, block.padded);
    for (size_t i = 0; i < plan_.fused_terms.size(); ++i) {
      const auto run = [&](T* values, T* total) {
        plan_.fused_terms[i].elementwise(plan_.fused_terms[i].parameters, block.label,
                                         block.prediction, block.exp_neg_abs, nullptr, T(0), values,
                                         total, nullptr, false, block.padded);
      };
      sums->fused_terms[i] +=
          sum_of_values(plan_.ops, block.size, block.padded, buffers.values, run);
    }
  });
  collector.flush(sums);
  sums->positions = chunk.rows;
}

template <class T>
void ContiguousStrategy<T>::differentiate(const OverlapChunk& chunk, const LossDerivatives<T>& loss,
                                          char* gradient, bool stream) const {
  const fastloss_overlap& call = plan_.call;
  const OverlapOps<T>& overlap_ops = plan_.overlap_ops;
  const int64_t period = plan_.layout.period;
  const Matrix& prediction = plan_.prediction;
  const Buffers buffers(block_size(), period);
  loss.spread(plan_.layout, chunk.segment, buffers.by_intersection, buffers.by_prediction);
  const SumDerivatives<T> by_sums = {buffers.by_intersection, buffers.by_prediction};
  for_each_block(chunk, true, buffers, [&](const Block& block) {
    char* const to = gradient + block.element * prediction.size;
    const bool direct = !stream && gradient != call.y_pred && block.size == block.padded &&
                        prediction.dtype == dtype_of<T>();
    T* const out = direct ? reinterpret_cast<T*>(to) : buffers.gradient;
    const int64_t repeats = block.padded / period;
    if (block.packed_labels)
      overlap_ops.gradient_of_packed(block.packed_labels, block.begin, block.probability, period,
                                     repeats, by_sums, call.squared, out);
    else
      overlap_ops.gradient(block.label, block.probability, period, repeats, by_sums, call.squared,
                           out);
    if (call.activation == FASTLOSS_SIGMOID)
      overlap_ops.sigmoid_backward(block.probability, block.padded, out);
    for (size_t i = 0; i < plan_.fused_terms.size(); ++i)
      plan_.fused_terms[i].elementwise(
          plan_.fused_terms[i].parameters, block.label, block.prediction, block.exp_neg_abs,
          nullptr, loss.by_fused_terms[i], nullptr, nullptr, out, true, block.padded);
    if (!direct) plan_.ops.store(prediction.dtype, out, to, block.size, stream, nullptr);
  });
}

template class ContiguousStrategy<float>;
template class ContiguousStrategy<double>;

}  // namespace fastloss
