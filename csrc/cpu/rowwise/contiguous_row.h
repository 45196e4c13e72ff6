// One contiguous row: its loss, and its gradient written.
#pragma once

#include "cpu/kernels/tile.h"
#include "cpu/rowwise/normalizer.h"
#include "cpu/rowwise/row_outputs.h"
#include "cpu/rowwise/row_tasks.h"

namespace fastloss {

template <class T>
struct ContiguousBuffers {
  ContiguousBuffers(const RowwisePlan<T>& plan, const RowChunks<T>& chunks, bool caches);

  Scratch scratch;
  T *label, *prediction, *slope, *gradient;  // of a chunk
  RowSoftmax<T> prediction_softmax, label_softmax;
  OpenLine open;  // of the gradient
};

template <class T>
struct ContiguousRow {
  const RowwisePlan<T>& plan;
  const RowChunks<T>& chunks;
  const RowOutputs<T>& outputs;
  const int64_t row;
  const RowTask<T>& task;
  const Normalizer& normalizer;
  ContiguousBuffers<T>& buffers;

  const T* load_prediction(const Chunk& chunk) const {
    return chunks.load(plan.prediction, row, chunk, buffers.prediction, buffers.slope);
  }

  // The gradient in its buffer, which is by scaled logits.
  void store_gradient(const Chunk& chunk) const {
    if (plan.caps_logits()) plan.ops.multiply(buffers.slope, buffers.gradient, chunk.size);
    plan.ops.store(plan.prediction.dtype, buffers.gradient,
                   chunks.target(outputs.gradient, row, chunk), chunk.size, outputs.stream,
                   &buffers.open);
  }
};

// Of a loss that is that of the label's class.
template <class T>
struct LabelRow : ContiguousRow<T> {
  T evaluate() const;

 private:
  using Row = ContiguousRow<T>;
  using Row::plan, Row::chunks, Row::outputs, Row::row, Row::task, Row::normalizer, Row::buffers;
  void write_gradient(T x, T slope) const;
};

// Of a loss of all classes and a row of labels, or of a class made one.
template <class T>
struct DenseRow : ContiguousRow<T> {
  T evaluate() const;

 private:
  using Row = ContiguousRow<T>;
  using Row::plan, Row::chunks, Row::outputs, Row::row, Row::task, Row::normalizer, Row::buffers;
  RowState<T> state_of(const Normalizer& label) const;
  RowBlock<T> load(const Chunk& chunk, const Normalizer& label, RowState<T>* state) const;
  void accumulate(const Normalizer& label, RowState<T>* state, Lanes<T> (&sums)[3]) const;
  const T* load_labels(const Chunk& chunk) const;
};

extern template struct LabelRow<float>;
extern template struct LabelRow<double>;
extern template struct DenseRow<float>;
extern template struct DenseRow<double>;

}  // namespace fastloss
