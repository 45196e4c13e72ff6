// Contiguous rows, chunk by chunk: the lanes are classes.
#pragma once

#include <algorithm>
#include <limits>

#include "cpu/rowwise/plan.h"

namespace fastloss {

// Classes of a row that are computed together, in the L1 cache.
constexpr int64_t kChunk = 2048;

struct Chunk {
  int64_t index, begin, size;
  int64_t padded;  // to whole vectors

  bool contains(int64_t c) const { return c >= begin && c < begin + size; }
};

template <class T>
class RowChunks {
 public:
  explicit RowChunks(const RowwisePlan<T>& plan)
      : plan_(plan), classes_(plan.call.classes), count_(ceil_div(classes_, kChunk)) {}

  int64_t count() const { return count_; }
  Chunk at(int64_t index) const {
    const int64_t begin = index * kChunk, size = std::min(kChunk, classes_ - begin);
    return {index, begin, size, ceil_div(size, kRowLanes) * kRowLanes};
  }

  // The elements as T, padded and their logits scaled: the array's own where they are just so, else
  // in `buffer`. For `slope` see scale_logits().
  const T* load(const RowMatrix<T>& matrix, int64_t row, const Chunk& chunk, T* buffer,
                T* slope) const {
    const char* const from = matrix.data + (row * classes_ + chunk.begin) * matrix.size;
    const bool is_whole = matrix.dtype == dtype_of<T>() && chunk.size == chunk.padded;
    if (is_whole && !matrix.scales_logits) return reinterpret_cast<const T*>(from);
    if (is_whole)
      plan_.scale_logits(matrix, reinterpret_cast<const T*>(from), chunk.padded, buffer, slope);
    else
      convert(matrix, from, chunk, buffer, slope);
    return buffer;
  }

  // One prediction, its logit scaled.
  T prediction(int64_t row, int64_t c) const {
    const RowMatrix<T>& matrix = plan_.prediction;
    alignas(64) T raw[kRowLanes], scaled[kRowLanes];
    plan_.ops.load(matrix.dtype, matrix.data + (row * classes_ + c) * matrix.size, raw, 1);
    if (!matrix.scales_logits) return raw[0];
    std::fill(raw + 1, raw + kRowLanes, raw[0]);
    plan_.scale_logits(matrix, raw, kRowLanes, scaled, nullptr);
    return scaled[0];
  }

  // Where a chunk begins in an array of the predictions' dtype.
  char* target(char* array, int64_t row, const Chunk& chunk) const {
    return array + (row * classes_ + chunk.begin) * plan_.prediction.size;
  }

  // To fetch from. For a class past the row's end it is an address in the next row, or past the
  // array's end.
  uintptr_t address(const RowMatrix<T>& matrix, int64_t row, int64_t c) const {
    return reinterpret_cast<uintptr_t>(matrix.data) + uintptr_t((row * classes_ + c) * matrix.size);
  }

  // The first of the row's largest numbers as they came, NaN left out.
  int64_t first_largest(const RowMatrix<T>& matrix, int64_t row, T* buffer) const {
    const RowMatrix<T> raw = matrix.raw();
    T largest = 0;
    int64_t index = -1;
    for (int64_t i = 0; i < count(); ++i) {
      const Chunk chunk = at(i);
      Lanes<T> lanes;
      fill(&lanes, -std::numeric_limits<T>::infinity());
      plan_.row_ops.maxima(load(raw, row, chunk, buffer, nullptr), chunk.padded, &lanes);
      const T own = plan_.row_ops.maximum(lanes);
      if (index < 0 || own > largest) largest = own, index = i;
    }
    return first_reaching(raw, row, at(index), largest, buffer);
  }

  // The first class of a chunk that has one of at least `bound`.
  int64_t first_reaching(const RowMatrix<T>& matrix, int64_t row, const Chunk& chunk, T bound,
                         T* buffer) const {
    Lanes<T> bounds;
    bounds.lane[0] = bound;
    int32_t steps[kRowLanes];
    plan_.row_ops.first_reaching(load(matrix, row, chunk, buffer, nullptr), chunk.padded, bounds,
                                 false, steps);
    int64_t first = chunk.padded;
    for (int64_t k = 0; k < kRowLanes; ++k)
      first = std::min(first, int64_t(steps[k]) * kRowLanes + k);
    return chunk.begin + first;
  }

 private:
  void convert(const RowMatrix<T>& matrix, const char* from, const Chunk& chunk, T* buffer,
               T* slope) const {
    plan_.ops.load(matrix.dtype, from, buffer, chunk.size);
    std::fill(buffer + chunk.size, buffer + chunk.padded, matrix.pad);
    if (!matrix.scales_logits) return;
    alignas(64) T raw[kChunk];
    std::copy(buffer, buffer + chunk.padded, raw);
    plan_.scale_logits(matrix, raw, chunk.padded, buffer, slope);
    std::fill(buffer + chunk.size, buffer + chunk.padded, matrix.pad);
  }

  const RowwisePlan<T>& plan_;
  const int64_t classes_, count_;
};

}  // namespace fastloss
