// A contiguous row of a loss that is that of the label's class.
#pragma once

#include <cmath>

#include "cpu/rowwise/contiguous_row.h"

namespace fastloss {

template <class T>
struct LabelRow : ContiguousRow<T> {
  // Forced, as a row of a few hundred classes is so short that a call counts.
  FASTLOSS_INLINE T evaluate() const;

 private:
  using Row = ContiguousRow<T>;
  using Row::plan, Row::chunks, Row::outputs, Row::row, Row::task, Row::normalizer, Row::buffers;
  FASTLOSS_INLINE void write_gradient(T x, T slope) const;
};

template <class T>
T LabelRow<T>::evaluate() const {
  const Normalizer& n = normalizer;
  const int64_t label = task.label;
  const T x = chunks.prediction(row, label);
  const bool is_logit = plan.loops.prediction == Normalization::softmax;
  const double log_p = (double(x) - n.maximum) - n.log_sum;
  Lanes<T> p, z, value, slope;
  fill(&z, is_logit ? T(log_p) : x);
  fill(&p, is_logit ? T(std::exp(log_p)) : T(double(clipped(plan, x)) / n.sum));
  plan.loops.sparse.at_label(plan.call.parameters, p, z, &value, &slope);
  const T weight = plan.class_weight_of(label);
  if (outputs.gradient) write_gradient(x, weight * slope.lane[0]);
  return weight * value.lane[0];
}

// `slope` is the derivative by the logarithm of the label's probability. By logits x the gradient
// is slope * (y - p), by numbers x that are divided by their sum slope * (y / x - 1 / sum): a
// multiple of something in all classes, and a term at the label, where y is 1.
template <class T>
void LabelRow<T>::write_gradient(T x, T slope) const {
  const Normalizer& n = normalizer;
  const RowSoftmax<T>& softmax = buffers.prediction_softmax;
  T* const gradient = buffers.gradient;
  const bool is_logit = plan.loops.prediction == Normalization::softmax;
  T label_term = slope * task.scale, multiple;
  if (is_logit) {
    multiple = (plan.z_loss_slope(n.log_sum_exp()) - slope) * task.scale;
  } else {
    multiple = T(-double(label_term) / n.sum);
    label_term =
        slope != 0 && plan.loops.unclipped(plan.call.parameters, x) ? label_term / x : T(0) * slope;
  }
  const bool reads_prediction = !is_logit || plan.caps_logits || !softmax.is_cached();
  for (int64_t index = 0; index < chunks.count(); ++index) {
    const Chunk chunk = chunks.at(index);
    RowBlock<T> block = {nullptr, nullptr, nullptr, nullptr, chunk.padded};
    if (reads_prediction) block.prediction = Row::load_prediction(chunk);
    Lanes<T> factor;
    factor.lane[0] = multiple;
    if (is_logit) {
      Lanes<T> of_exps;
      block.prediction_exps = softmax.exps(n, block.prediction, chunk, &of_exps);
      factor.lane[0] *= of_exps.lane[0];
    }
    const bool has_label = chunk.contains(task.label);
    // A multiple of the exponentials alone needs no buffer.
    if (is_logit && !plan.caps_logits && !has_label) {
      plan.ops.store_scaled(plan.prediction.dtype, factor.lane[0], block.prediction_exps,
                            chunks.target(outputs.gradient, row, chunk), chunk.size, outputs.stream,
                            &buffers.open);
      continue;
    }
    plan.loops.sparse.gradients(plan.call.parameters, block, factor, false, gradient);
    if (has_label) gradient[task.label - chunk.begin] += label_term;
    Row::store_gradient(chunk);
  }
}

}  // namespace fastloss
