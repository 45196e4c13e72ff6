// What one contiguous row and its buffers are to those who compute its loss and gradient.
#pragma once

#include "cpu/kernels/tile.h"
#include "cpu/rowwise/normalizer.h"
#include "cpu/rowwise/row_outputs.h"
#include "cpu/rowwise/row_tasks.h"

namespace fastloss {

// Labels are fetched with the logits of a row if all of it stays in a cache of so many bytes.
constexpr int64_t kSecondCache = int64_t(1) << 19;

template <class T>
bool fetches_labels(const RowwisePlan<T>& plan) {
  const int64_t bytes_per_class = plan.prediction.size + plan.label.size + int64_t(sizeof(T));
  return !plan.sparse && plan.call.classes * bytes_per_class <= kSecondCache;
}

template <class T>
struct ContiguousBuffers {
  ContiguousBuffers(const RowwisePlan<T>& plan, const RowChunks<T>& chunks, bool caches)
      : scratch(4 * kChunk * int64_t(sizeof(T)) +
                2 * RowSoftmax<T>::bytes(chunks, plan.call.classes)),
        label(scratch.take<T>(kChunk)),
        prediction(scratch.take<T>(kChunk)),
        slope(scratch.take<T>(kChunk)),
        gradient(scratch.take<T>(kChunk)),
        prediction_softmax(plan, chunks, plan.prediction,
                           fetches_labels(plan) ? &plan.label : nullptr, caches, &scratch),
        label_softmax(plan, chunks, plan.label, nullptr, caches, &scratch) {}

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
    if (plan.caps_logits) plan.ops.multiply(buffers.slope, buffers.gradient, chunk.size);
    plan.ops.store(plan.prediction.dtype, buffers.gradient,
                   chunks.target(outputs.gradient, row, chunk), chunk.size, outputs.stream,
                   &buffers.open);
  }
};

}  // namespace fastloss
