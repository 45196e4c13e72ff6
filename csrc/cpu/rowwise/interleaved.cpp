#include "cpu/rowwise/interleaved.h"

#include <limits>
#include <numeric>

#include "cpu/runtime/scratch.h"

namespace fastloss {
namespace {

template <class T>
class InterleavedPass {
 public:
  InterleavedPass(const RowwisePlan<T>& plan, const RowOutputs<T>& outputs, RowTaskReader<T>* tasks)
      : plan_(plan), size_(plan.call.classes * kRowLanes), tasks_(*tasks), outputs_(outputs) {}

  double run(int64_t begin, int64_t end) const;

 private:
  struct Block;

  void load_prediction(Block* block) const;
  void find_hits(Block* block) const;
  void first_largest(const T* x, int32_t* classes) const;
  void normalize(Normalization normalization, const T* x, uintptr_t ahead, T* exps,
                 RowNormalizer<T>* normalizer) const;
  // The losses of the rows, and their gradient by scaled logits.
  void evaluate_at_label(Block* block) const;
  void write_gradient_at_label(const int64_t* index, const Lanes<T>& slope, Block* block) const;
  void evaluate_dense(Block* block) const;
  void load_labels(Block* block) const;
  // What all losses have: z_loss, weights, skipped rows.
  void finish_values(Block* block) const;
  void store_gradient(const Block& block) const;

  const RowwisePlan<T>& plan_;
  const int64_t size_;  // of a block
  RowTaskReader<T>& tasks_;
  const RowOutputs<T>& outputs_;
};

template <class T>
struct InterleavedPass<T>::Block {
  explicit Block(int64_t size)
      : scratch(7 * (size * int64_t(sizeof(T)) + 64)),
        rows(scratch.take<T>(size)),
        prediction(scratch.take<T>(size)),
        exps(scratch.take<T>(size)),
        label(scratch.take<T>(size)),
        label_exps(scratch.take<T>(size)),
        gradient(scratch.take<T>(size)),
        slope(scratch.take<T>(size)),
        numbers{label, label_exps, prediction, exps, size} {}

  Scratch scratch;
  T* const rows;  // before they are interleaved, or after
  T *const prediction, *const exps, *const label, *const label_exps, *const gradient;
  T* const slope;  // of a cap on logits
  const RowBlock<T> numbers;
  int64_t first, count;  // its rows
  RowTasks<T> tasks;
  RowState<T> state = {};
  Lanes<T> value, log_sum_exp;
  bool hits[kRowLanes] = {};
};

template <class T>
double InterleavedPass<T>::run(int64_t begin, int64_t end) const {
  Block block(size_);
  double total[kRowLanes] = {};
  for (int64_t first = begin; first < end; first += kRowLanes) {
    block.first = first, block.count = std::min<int64_t>(kRowLanes, end - first);
    tasks_.read(first, block.count, &block.tasks);
    load_prediction(&block);
    if (plan_.at_label)
      evaluate_at_label(&block);
    else
      evaluate_dense(&block);
    finish_values(&block);
    for (int64_t k = 0; k < kRowLanes; ++k) total[k] += double(block.value.lane[k]);
    if (outputs_.has_metrics())
      for (int64_t k = 0; k < block.count; ++k)
        outputs_.write_metrics(first + k, block.value.lane[k], block.log_sum_exp.lane[k],
                               block.hits[k] && !block.tasks.skipped[k]);
    if (outputs_.gradient) store_gradient(block);
  }
  return std::accumulate(total, total + kRowLanes, 0.0);
}

template <class T>
void InterleavedPass<T>::load_prediction(Block* block) const {
  const RowMatrix<T>& matrix = plan_.prediction;
  T* const x = block->prediction;
  plan_.interleaved_rows.load(matrix, block->first, block->count, block->rows, x);
  if (outputs_.hit) find_hits(block);
  if (matrix.scales_logits) {
    std::copy(x, x + size_, block->gradient);
    plan_.scale_logits(matrix, block->gradient, size_, x,
                       outputs_.gradient ? block->slope : nullptr);
  }
  RowNormalizer<T>& normalizer = block->state.prediction;
  normalize(plan_.loops.prediction, x, plan_.interleaved_rows.next(matrix, block->first, x),
            block->exps, &normalizer);
  for (int64_t k = 0; k < kRowLanes; ++k)
    block->log_sum_exp.lane[k] = normalizer.shift.lane[k] + normalizer.log_sum.lane[k];
  if (plan_.call.z_loss != 0)
    for (int64_t k = 0; k < kRowLanes; ++k)
      block->state.z_loss_slope.lane[k] = plan_.z_loss_slope(double(block->log_sum_exp.lane[k]));
}

// Of the predictions as they came.
template <class T>
void InterleavedPass<T>::find_hits(Block* block) const {
  int32_t predicted[kRowLanes], expected[kRowLanes];
  first_largest(block->prediction, predicted);
  std::copy(block->tasks.label, block->tasks.label + kRowLanes, expected);
  if (!plan_.sparse) {
    plan_.interleaved_rows.load(plan_.label, block->first, block->count, block->rows, block->label);
    first_largest(block->label, expected);
  }
  for (int64_t k = 0; k < kRowLanes; ++k) block->hits[k] = predicted[k] == expected[k];
}

template <class T>
void InterleavedPass<T>::first_largest(const T* x, int32_t* classes) const {
  Lanes<T> largest;
  fill(&largest, -std::numeric_limits<T>::infinity());
  plan_.row_ops.maxima(x, size_, &largest);
  plan_.row_ops.first_reaching(x, size_, largest, true, classes);
}

template <class T>
void InterleavedPass<T>::normalize(Normalization normalization, const T* x, uintptr_t ahead,
                                   T* exps, RowNormalizer<T>* normalizer) const {
  constexpr T kNone = -std::numeric_limits<T>::infinity();
  Lanes<T> sum;
  fill(&sum, T(-0.0));
  if (normalization == Normalization::softmax) {
    fill(&normalizer->shift, kNone);
    plan_.row_ops.maxima(x, size_, &normalizer->shift);
    for (T& shift : normalizer->shift.lane) shift = shift == kNone ? T(0) : shift;
    plan_.row_ops.exps(x, size_, normalizer->shift, true, exps, &sum, ahead, 0);
    plan_.row_ops.log(sum, &normalizer->log_sum);
  } else if (normalization == Normalization::sum) {
    plan_.loops.sum_clipped(plan_.call.parameters, x, size_, &sum);
  } else {
    return;
  }
  for (int64_t k = 0; k < kRowLanes; ++k) normalizer->factor.lane[k] = T(1) / sum.lane[k];
}

template <class T>
void InterleavedPass<T>::evaluate_at_label(Block* block) const {
  const RowNormalizer<T>& normalizer = block->state.prediction;
  Lanes<T> p, z, x, slope;
  int64_t index[kRowLanes];  // of the label's class in the block
  for (int64_t k = 0; k < kRowLanes; ++k) {
    index[k] = block->tasks.label[k] * kRowLanes + k;
    x.lane[k] = block->prediction[index[k]];
  }
  if (plan_.loops.prediction == Normalization::softmax) {
    for (int64_t k = 0; k < kRowLanes; ++k) p.lane[k] = block->exps[index[k]];
    for (int64_t k = 0; k < kRowLanes; ++k) {
      z.lane[k] = (x.lane[k] - normalizer.shift.lane[k]) - normalizer.log_sum.lane[k];
      p.lane[k] *= normalizer.factor.lane[k];
    }
  } else {
    z = p = x;
  }
  if (plan_.loops.prediction == Normalization::sum) {
    fill(&p, T(-0.0));
    plan_.loops.sum_clipped(plan_.call.parameters, x.lane, kRowLanes, &p);
    for (int64_t k = 0; k < kRowLanes; ++k) p.lane[k] *= normalizer.factor.lane[k];
  }
  plan_.loops.sparse.at_label(plan_.call.parameters, p, z, &block->value, &slope);
  if (plan_.class_weight)
    for (int64_t k = 0; k < kRowLanes; ++k) {
      const T weight = plan_.class_weight[block->tasks.label[k]];
      block->value.lane[k] *= weight;
      slope.lane[k] *= weight;
    }
  if (outputs_.gradient) write_gradient_at_label(index, slope, block);
}

// As LabelRow::write_gradient().
template <class T>
void InterleavedPass<T>::write_gradient_at_label(const int64_t* index, const Lanes<T>& slope,
                                                 Block* block) const {
  const RowNormalizer<T>& normalizer = block->state.prediction;
  Lanes<T> multiple, label_term;
  for (int64_t k = 0; k < kRowLanes; ++k) {
    const T scale = block->tasks.scale.lane[k];
    const T of_all = (block->state.z_loss_slope.lane[k] - slope.lane[k]) * scale;
    multiple.lane[k] =
        plan_.loops.prediction == Normalization::none ? T(0) : of_all * normalizer.factor.lane[k];
    label_term.lane[k] = slope.lane[k] * scale;
  }
  if (plan_.loops.prediction == Normalization::sum)
    for (int64_t k = 0; k < kRowLanes; ++k) {
      const T x = block->prediction[index[k]];
      label_term.lane[k] = slope.lane[k] != 0 && plan_.loops.unclipped(plan_.call.parameters, x)
                               ? label_term.lane[k] / x
                               : T(0) * slope.lane[k];
    }
  plan_.loops.sparse.gradients(plan_.call.parameters, block->numbers, multiple, true,
                               block->gradient);
  for (int64_t k = 0; k < kRowLanes; ++k) block->gradient[index[k]] += label_term.lane[k];
}

template <class T>
void InterleavedPass<T>::evaluate_dense(Block* block) const {
  const DenseLoops<T>& loops = plan_.loops.dense;
  RowState<T>& state = block->state;
  load_labels(block);
  Lanes<T> sums[3];
  loops.identity(sums);
  loops.accumulate(plan_.call.parameters, block->numbers, state, true, sums);
  loops.finalize(plan_.call.parameters, sums);
  block->value = sums[0];
  if (!outputs_.gradient) return;
  state.b = sums[1], state.c = sums[2];
  state.scale = block->tasks.scale;
  if (plan_.loops.prediction == Normalization::sum)
    for (int64_t k = 0; k < kRowLanes; ++k) state.scale.lane[k] *= state.prediction.factor.lane[k];
  loops.gradients(plan_.call.parameters, block->numbers, state, true, block->gradient);
}

template <class T>
void InterleavedPass<T>::load_labels(Block* block) const {
  T* const y = block->label;
  if (plan_.sparse) {
    std::fill(y, y + size_, T(0));
    for (int64_t k = 0; k < kRowLanes; ++k) y[block->tasks.label[k] * kRowLanes + k] = T(1);
  } else {
    plan_.interleaved_rows.load(plan_.label, block->first, block->count, block->rows, y);
  }
  if (plan_.changes_labels())
    plan_.row_ops.smooth(y, size_, T(1 - plan_.call.label_smoothing),
                         T(plan_.call.label_smoothing / double(plan_.call.classes)),
                         plan_.class_weight, true);
  if (plan_.loops.label != Normalization::softmax) return;
  if (plan_.label.scales_logits) {
    std::copy(y, y + size_, block->gradient);
    plan_.scale_logits(plan_.label, block->gradient, size_, y, nullptr);
  }
  normalize(Normalization::softmax, y, reinterpret_cast<uintptr_t>(y), block->label_exps,
            &block->state.label);
}

template <class T>
void InterleavedPass<T>::finish_values(Block* block) const {
  Lanes<T>&value = block->value, &log_sum_exp = block->log_sum_exp;
  if (plan_.call.z_loss != 0)
    for (int64_t k = 0; k < kRowLanes; ++k)
      value.lane[k] += T(plan_.call.z_loss) * log_sum_exp.lane[k] * log_sum_exp.lane[k];
  for (int64_t k = 0; k < kRowLanes; ++k) value.lane[k] *= block->tasks.weight.lane[k];
  std::fill(value.lane + block->count, value.lane + kRowLanes, T(0));
  if (block->tasks.any_skipped)
    for (int64_t k = 0; k < kRowLanes; ++k)
      if (block->tasks.skipped[k]) value.lane[k] = log_sum_exp.lane[k] = T(0);
}

template <class T>
void InterleavedPass<T>::store_gradient(const Block& block) const {
  T* const gradient = block.gradient;
  if (plan_.caps_logits) plan_.ops.multiply(block.slope, gradient, size_);
  if (block.tasks.any_skipped)
    for (int64_t k = 0; k < block.count; ++k)
      if (block.tasks.skipped[k])
        for (int64_t c = 0; c < plan_.call.classes; ++c) gradient[c * kRowLanes + k] = T(0);
  plan_.interleaved_rows.store(block.first, block.count, gradient, block.rows,
                               plan_.prediction.dtype, outputs_.gradient, outputs_.stream);
}

}  // namespace

template <class T>
double run_interleaved(const RowwisePlan<T>& plan, const RowOutputs<T>& outputs, int64_t begin,
                       int64_t end, RowTaskReader<T>* tasks) {
  return InterleavedPass<T>(plan, outputs, tasks).run(begin, end);
}

template double run_interleaved(const RowwisePlan<float>&, const RowOutputs<float>&, int64_t,
                                int64_t, RowTaskReader<float>*);
template double run_interleaved(const RowwisePlan<double>&, const RowOutputs<double>&, int64_t,
                                int64_t, RowTaskReader<double>*);

}  // namespace fastloss
