#include "cpu/overlap/interleaved.h"

namespace fastloss {

template <class T>
InterleavedStrategy<T>::InterleavedStrategy(const OverlapPlan<T>& plan)
    : plan_(plan), reader_(plan) {}

template <class T>
template <class Body>
void InterleavedStrategy<T>::for_each_positions(const OverlapChunk& chunk, const Buffers& buffers,
                                                const Body& body) const {
  Positions positions;
  for (int64_t row = 0; row < chunk.rows; row += kRowLanes) {
    positions.first = chunk.segment * plan_.layout.rows + chunk.first_row + row;
    positions.count = std::min<int64_t>(kRowLanes, chunk.rows - row);
    reader_.read(buffers, &positions);
    body(&positions);
  }
}

// The value of a fused term for each position, and its derivative by the logit of the label.
template <class T>
void InterleavedStrategy<T>::at_label(const FusedTerm<T>& term, const Buffers& buffers,
                                      const Positions& positions, Lanes<T>* value,
                                      Lanes<T>* derivative) const {
  const RowNormalizer<T>& row = positions.state.prediction;
  Lanes<T> p, z;
  for (int64_t k = 0; k < kRowLanes; ++k) {
    const int64_t index = positions.class_label[k] * kRowLanes + k;
    p.lane[k] = buffers.probability[index];
    z.lane[k] = (buffers.prediction[index] - row.shift.lane[k]) - row.log_sum.lane[k];
  }
  term.rowwise.sparse.at_label(term.parameters, p, z, value, derivative);
  for (int64_t k = 0; k < kRowLanes; ++k)
    if (positions.skipped[k]) value->lane[k] = derivative->lane[k] = T(0);
}

// What a fused term of rows of labels is for each position.
template <class T>
void InterleavedStrategy<T>::row_sums(const FusedTerm<T>& term, const Positions& positions,
                                      Lanes<T> (&sums)[3]) const {
  const DenseLoops<T>& loops = term.rowwise.dense;
  loops.identity(sums);
  loops.accumulate(term.parameters, positions.block, positions.state, true, sums);
  loops.finalize(term.parameters, sums);
}

// Intersection and label sums, in which only the class of the label has a part.
template <class T>
void InterleavedStrategy<T>::add_class_labels(const Positions& positions, const T* probability,
                                              T* sums) const {
  for (int64_t k = 0; k < kRowLanes; ++k) {
    if (positions.skipped[k]) continue;
    const int64_t index = positions.class_label[k] * kRowLanes + k;
    sums[index] += probability[index];
    sums[2 * plan_.layout.period + index] += T(1);
  }
}

template <class T>
void InterleavedStrategy<T>::sum(const OverlapChunk& chunk, ChunkSums* sums) const {
  const Buffers buffers(plan_.layout.period);
  SumCollector<T> collector(plan_, buffers.sums);
  for_each_positions(chunk, buffers, [&](Positions* positions) {
    if (plan_.call.sparse) add_class_labels(*positions, buffers.probability, collector.running());
    collector.add(positions->label, buffers.probability, plan_.layout.period, sums);
    for (size_t i = 0; i < plan_.fused_terms.size(); ++i) {
      Lanes<T> found[3];
      if (plan_.call.sparse)
        at_label(plan_.fused_terms[i], buffers, *positions, &found[0], &found[1]);
      else
        row_sums(plan_.fused_terms[i], *positions, found);
      sums->fused_terms[i] += sum_of_lanes(
          [&](int64_t k) { return positions->skipped[k] ? 0.0 : double(found[0].lane[k]); });
    }
    for (int64_t k = 0; k < kRowLanes; ++k) sums->positions += !positions->skipped[k];
    sums->bad_position = std::min(sums->bad_position, positions->bad_position);
  });
  collector.flush(sums);
}

// The derivative of all fused terms by the logit of the label.
template <class T>
Lanes<T> InterleavedStrategy<T>::derivative_at_label(const LossDerivatives<T>& loss,
                                                     const Buffers& buffers,
                                                     const Positions& positions) const {
  Lanes<T> sum;
  fill(&sum, T(0));
  for (size_t i = 0; i < plan_.fused_terms.size(); ++i) {
    Lanes<T> value, derivative;
    at_label(plan_.fused_terms[i], buffers, positions, &value, &derivative);
    for (int64_t k = 0; k < kRowLanes; ++k)
      sum.lane[k] += derivative.lane[k] * loss.by_fused_terms[i];
  }
  return sum;
}

template <class T>
void InterleavedStrategy<T>::add_row_gradients(const LossDerivatives<T>& loss,
                                               const Buffers& buffers, Positions* positions) const {
  RowState<T>& state = positions->state;
  for (size_t i = 0; i < plan_.fused_terms.size(); ++i) {
    const FusedTerm<T>& term = plan_.fused_terms[i];
    Lanes<T> sums[3];
    row_sums(term, *positions, sums);
    state.b = sums[1], state.c = sums[2];
    fill(&state.scale, loss.by_fused_terms[i]);
    fill(&state.z_loss_slope, T(0));
    term.rowwise.dense.gradients(term.parameters, positions->block, state, true, buffers.rows);
    plan_.overlap_ops.add(buffers.rows, plan_.layout.period, buffers.gradient);
  }
}

template <class T>
void InterleavedStrategy<T>::differentiate(const OverlapChunk& chunk,
                                           const LossDerivatives<T>& loss, char* gradient,
                                           bool stream) const {
  const fastloss_overlap& call = plan_.call;
  const OverlapOps<T>& overlap_ops = plan_.overlap_ops;
  const int64_t size = plan_.layout.period;
  const Buffers buffers(size);
  loss.spread(plan_.layout, chunk.segment, buffers.by_intersection, buffers.by_prediction);
  const SumDerivatives<T> by_sums = {buffers.by_intersection, buffers.by_prediction};
  for_each_positions(chunk, buffers, [&](Positions* positions) {
    T* const out = buffers.gradient;
    overlap_ops.gradient(positions->label, buffers.probability, size, 1, by_sums, call.squared,
                         out);
    const auto add_at_label = [&](const auto& term) {
      for (int64_t k = 0; k < kRowLanes; ++k) {
        const int64_t index = positions->class_label[k] * kRowLanes + k;
        out[index] += term(k, index);
      }
    };
    if (call.sparse)
      add_at_label([&](int64_t, int64_t index) { return buffers.by_intersection[index]; });
    Lanes<T> at_label;
    fill(&at_label, T(0));
    if (call.sparse) at_label = derivative_at_label(loss, buffers, *positions);
    if (call.activation == FASTLOSS_SIGMOID) {
      overlap_ops.sigmoid_backward(buffers.probability, size, out);
    } else if (call.activation == FASTLOSS_SOFTMAX) {
      // The derivatives by the logits of a position add up to 0, so that what is added to that of
      // the label is taken from all of them in proportion to p.
      Lanes<T> extra;
      for (int64_t k = 0; k < kRowLanes; ++k) extra.lane[k] = -at_label.lane[k];
      overlap_ops.softmax_backward(buffers.probability, size, extra, out);
    }
    add_at_label([&](int64_t k, int64_t) { return at_label.lane[k]; });
    if (!call.sparse) add_row_gradients(loss, buffers, positions);
    reader_.write(*positions, buffers, gradient, stream);
  });
}

template class InterleavedStrategy<float>;
template class InterleavedStrategy<double>;

}  // namespace fastloss
