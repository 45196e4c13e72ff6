// kRowLanes positions with all their classes, interleaved: class after class, the positions side by
// side.
#pragma once

#include <limits>

#include "cpu/overlap/plan.h"
#include "cpu/runtime/scratch.h"

namespace fastloss {

// Each has room for all classes of kRowLanes positions.
template <class T>
struct InterleavedBuffers {
  Scratch scratch;
  T *label, *prediction, *probability, *rows, *gradient, *exps;
  T *sums, *by_intersection, *by_prediction;

  explicit InterleavedBuffers(int64_t size) : scratch(11 * (size * int64_t(sizeof(T)) + 64)) {
    for (T** buffer : {&label, &prediction, &probability, &rows, &gradient, &exps})
      *buffer = scratch.take<T>(size);
    sums = scratch.take<T>(3 * size);
    by_intersection = scratch.take<T>(size);
    by_prediction = scratch.take<T>(size);
  }
};

template <class T>
struct InterleavedPositions {
  int64_t first, count;
  int64_t class_label[kRowLanes];  // 0 for rows of labels
  bool skipped[kRowLanes];         // ignored, of no class, or beyond `count`
  bool any_skipped;
  int64_t bad_position;  // the first whose label is neither a class nor ignored, or max
  const T* label;        // rows of labels; null for classes
  RowBlock<T> block;
  RowState<T> state;  // of a softmax: what turns logits into probabilities
};

template <class T>
class InterleavedReader {
 public:
  explicit InterleavedReader(const OverlapPlan<T>& plan) : plan_(plan) {}

  // Fills in `positions`, of which `first` and `count` are given, and the buffers for labels,
  // predictions and probabilities, which are 0 for skipped positions.
  void read(const InterleavedBuffers<T>& buffers, InterleavedPositions<T>* positions) const;

  // Writes the gradient of positions that have been read.
  void write(const InterleavedPositions<T>& positions, const InterleavedBuffers<T>& buffers,
             char* gradient, bool stream) const;

 private:
  void read_class_labels(InterleavedPositions<T>* positions) const;
  void read_label_rows(const InterleavedBuffers<T>& buffers,
                       InterleavedPositions<T>* positions) const;
  void softmax(const InterleavedBuffers<T>& buffers, InterleavedPositions<T>* positions) const;
  void clear_skipped(const InterleavedPositions<T>& positions, T* numbers) const;

  const OverlapPlan<T>& plan_;
};

}  // namespace fastloss
