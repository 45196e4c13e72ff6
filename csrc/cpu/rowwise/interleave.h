// Rows of a matrix (outer, classes, inner) as kRowLanes interleaved ones: the lanes are rows, and
// class follows class. Row o * inner + i is [o, :, i].
#pragma once

#include <algorithm>

#include "cpu/kernels/isa.h"
#include "cpu/kernels/rowwise.h"
#include "cpu/rowwise/fill_lanes.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {

struct Matrix {
  const char* data;
  int32_t dtype;
  int64_t size;  // of an element, in bytes

  Matrix(const void* data, int32_t dtype)
      : data(static_cast<const char*>(data)), dtype(dtype), size(dtype_size(dtype)) {}
};

template <class T>
class InterleavedRows {
 public:
  InterleavedRows(int64_t classes, int64_t inner, const Isa& isa)
      : classes_(classes), inner_(inner), ops_(isa.ops<T>()), row_ops_(isa.row_ops<T>()) {}

  // Of the first class of a row; each of the others follows `inner` elements after the one before.
  int64_t offset(int64_t row) const { return row / inner_ * classes_ * inner_ + row % inner_; }

  // The block of `count` rows from `first` on. `rows` is a buffer for their elements as T; it and
  // `lanes` have classes * kRowLanes elements. Lanes beyond `count` are 0.
  void load(const Matrix& matrix, int64_t first, int64_t count, T* rows, T* lanes) const {
    if (inner_ == 1) {
      const char* const from = matrix.data + first * classes_ * matrix.size;
      const T* source = reinterpret_cast<const T*>(from);
      if (matrix.dtype != dtype_of<T>()) {
        ops_.load(matrix.dtype, from, rows, count * classes_);
        source = rows;
      }
      row_ops_.interleave(source, count, classes_, lanes);
      return;
    }
    if (count < kRowLanes) std::fill(lanes, lanes + classes_ * kRowLanes, T(0));
    each_run(first, count, [&](int64_t k, int64_t size, int64_t element) {
      for (int64_t c = 0; c < classes_; ++c)
        ops_.load(matrix.dtype, matrix.data + (element + c * inner_) * matrix.size,
                  lanes + c * kRowLanes + k, size);
    });
  }

  void store(int64_t first, int64_t count, const T* lanes, T* rows, int32_t dtype, char* to,
             bool stream) const {
    const int64_t size = dtype_size(dtype);
    if (inner_ == 1) {
      row_ops_.deinterleave(lanes, count, classes_, rows);
      ops_.store(dtype, rows, to + first * classes_ * size, count * classes_, stream, nullptr);
      return;
    }
    each_run(first, count, [&](int64_t k, int64_t run, int64_t element) {
      for (int64_t c = 0; c < classes_; ++c)
        ops_.store(dtype, lanes + c * kRowLanes + k, to + (element + c * inner_) * size, run, false,
                   nullptr);
    });
  }

  // Where the next block lies, if its rows are contiguous; else `otherwise`. It may lie past the
  // array's end: an address to fetch from, and no pointer.
  uintptr_t next(const Matrix& matrix, int64_t first, const void* otherwise) const {
    if (inner_ != 1) return reinterpret_cast<uintptr_t>(otherwise);
    const int64_t offset = (first + kRowLanes) * classes_ * matrix.size;
    return reinterpret_cast<uintptr_t>(matrix.data) + uintptr_t(offset);
  }

 private:
  // Calls run(lane, size, element) for the rows of a block whose elements are neighbours.
  template <class Run>
  void each_run(int64_t first, int64_t count, const Run& run) const {
    for (int64_t k = 0; k < count;) {
      const int64_t size = std::min(count - k, inner_ - (first + k) % inner_);
      run(k, size, offset(first + k));
      k += size;
    }
  }

  const int64_t classes_, inner_;
  const TileOps<T>& ops_;
  const RowOps<T>& row_ops_;
};

}  // namespace fastloss
