// A contiguous row of a loss of all classes.
#pragma once

#include "cpu/rowwise/contiguous_row.h"

namespace fastloss {

template <class T>
struct DenseRow : ContiguousRow<T> {
  // Forced, as a row of a few hundred classes is so short that a call counts.
  FASTLOSS_INLINE T evaluate() const;

 private:
  using Row = ContiguousRow<T>;
  using Row::plan, Row::chunks, Row::outputs, Row::row, Row::task, Row::normalizer, Row::buffers;
  RowState<T> state_of(const Normalizer& label) const;
  RowBlock<T> load(const Chunk& chunk, const Normalizer& label, RowState<T>* state) const;
  void accumulate(const Normalizer& label, RowState<T>* state, Lanes<T> (&sums)[3]) const;
  const T* load_labels(const Chunk& chunk) const;
};

template <class T>
T DenseRow<T>::evaluate() const {
  const DenseLoops<T>& loops = plan.loops.dense;
  const double* const parameters = plan.call.parameters;
  Normalizer label = {};
  if (plan.loops.label == Normalization::softmax)
    label = buffers.label_softmax.normalizer(row, buffers.label);
  RowState<T> state = state_of(label);
  Lanes<T> sums[3];
  accumulate(label, &state, sums);
  loops.finalize(parameters, sums);
  if (!outputs.gradient) return sums[0].lane[0];
  state.b = sums[1], state.c = sums[2];
  for (int64_t index = 0; index < chunks.count(); ++index) {
    const Chunk chunk = chunks.at(index);
    loops.gradients(parameters, load(chunk, label, &state), state, false, buffers.gradient);
    Row::store_gradient(chunk);
  }
  return sums[0].lane[0];
}

template <class T>
RowState<T> DenseRow<T>::state_of(const Normalizer& label) const {
  const Normalizer& n = normalizer;
  RowState<T> state;
  n.put(&state.prediction);
  label.put(&state.label);
  state.scale.lane[0] =
      plan.loops.prediction == Normalization::sum ? T(double(task.scale) / n.sum) : task.scale;
  state.z_loss_slope.lane[0] = plan.z_loss_slope(n.log_sum_exp());
  return state;
}

// The numbers of a chunk, and in `state` what makes probabilities of its exponentials.
template <class T>
RowBlock<T> DenseRow<T>::load(const Chunk& chunk, const Normalizer& label,
                              RowState<T>* state) const {
  RowBlock<T> block = {load_labels(chunk), nullptr, Row::load_prediction(chunk), nullptr,
                       chunk.padded};
  if (plan.loops.prediction == Normalization::softmax)
    block.prediction_exps = buffers.prediction_softmax.exps(normalizer, block.prediction, chunk,
                                                            &state->prediction.factor);
  if (plan.loops.label == Normalization::softmax)
    block.label_exps = buffers.label_softmax.exps(label, block.label, chunk, &state->label.factor);
  return block;
}

// Into lane 0. Chunks are added up in double: a long row is not one long chain of additions in T.
template <class T>
void DenseRow<T>::accumulate(const Normalizer& label, RowState<T>* state,
                             Lanes<T> (&sums)[3]) const {
  const DenseLoops<T>& loops = plan.loops.dense;
  double total[3];
  for (int64_t index = 0; index < chunks.count(); ++index) {
    loops.identity(sums);
    const RowBlock<T> block = load(chunks.at(index), label, state);
    loops.accumulate(plan.call.parameters, block, *state, false, sums);
    loops.combine(sums);
    const double own[3] = {double(sums[0].lane[0]), double(sums[1].lane[0]),
                           double(sums[2].lane[0])};
    if (index)
      plan.combine_sums(own, total);
    else
      std::copy(own, own + 3, total);
  }
  for (int i = 0; i < 3; ++i) sums[i].lane[0] = T(total[i]);
}

// As they came, or smoothed, weighted, made of a class.
template <class T>
const T* DenseRow<T>::load_labels(const Chunk& chunk) const {
  T* const buffer = buffers.label;
  if (!plan.sparse) {
    const T* const y = chunks.load(plan.label, row, chunk, buffer, nullptr);
    if (!plan.changes_labels()) return y;
    if (y != buffer) std::copy(y, y + chunk.size, buffer);
  } else {
    std::fill(buffer, buffer + chunk.padded, T(0));
    if (chunk.contains(task.label)) buffer[task.label - chunk.begin] = T(1);
  }
  if (!plan.changes_labels()) return buffer;
  alignas(64) T weights[kChunk];
  if (plan.class_weight) {
    std::copy_n(plan.class_weight + chunk.begin, chunk.size, weights);
    std::fill(weights + chunk.size, weights + chunk.padded, T(0));
  }
  plan.row_ops.smooth(buffer, chunk.padded, T(1 - plan.call.label_smoothing),
                      T(plan.call.label_smoothing / double(plan.call.classes)),
                      plan.class_weight ? weights : nullptr, false);
  std::fill(buffer + chunk.size, buffer + chunk.padded, plan.label.pad);
  return buffer;
}

}  // namespace fastloss
