// Rows of a matrix (outer, classes, inner) kRowLanes abreast: the lanes are rows, class after
// class. Row o * inner + i is [o, :, i].
#pragma once

#include <algorithm>

#include "cpu/kernels/isa.h"
#include "cpu/kernels/row_tile.h"
#include "cpu/kernels/tile.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {

template <class T>
const RowOps<T>& row_ops();
template <>
inline const RowOps<float>& row_ops<float>() {
  return *isa().rows_f32;
}
template <>
inline const RowOps<double>& row_ops<double>() {
  return *isa().rows_f64;
}

// Sums start at -0, which adds nothing and is quicker to write than +0: that is done by string
// stores.
template <class T>
void fill(Lanes<T>* lanes, T value) {
  std::fill(lanes->lane, lanes->lane + kRowLanes, value);
}

struct Matrix {
  const char* data;
  int32_t dtype;
  int64_t size;  // of an element, in bytes

  Matrix(const void* data, int32_t dtype)
      : data(static_cast<const char*>(data)), dtype(dtype), size(dtype_size(dtype)) {}
};

template <class T>
class Abreast {
 public:
  Abreast(int64_t classes, int64_t inner)
      : classes_(classes), inner_(inner), ops_(isa().ops<T>()), row_ops_(fastloss::row_ops<T>()) {}

  // Of the first class of a row; those that follow are `inner` apart.
  int64_t offset(int64_t row) const { return row / inner_ * classes_ * inner_ + row % inner_; }

  // `rows` holds a block on its way; both buffers have classes * kRowLanes elements. The lanes
  // beyond `count` are 0.
  void load(const Matrix& matrix, int64_t first, int64_t count, T* rows, T* lanes) const {
    if (inner_ == 1) {
      const char* const from = matrix.data + first * classes_ * matrix.size;
      const T* source = reinterpret_cast<const T*>(from);
      if (matrix.dtype != dtype_of<T>()) {
        ops_.load(matrix.dtype, from, rows, count * classes_);
        source = rows;
      }
      row_ops_.abreast(source, count, classes_, lanes);
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
      row_ops_.apart(lanes, count, classes_, rows);
      ops_.store(dtype, rows, to + first * classes_ * size, count * classes_, stream, nullptr);
      return;
    }
    each_run(first, count, [&](int64_t k, int64_t run, int64_t element) {
      for (int64_t c = 0; c < classes_; ++c)
        ops_.store(dtype, lanes + c * kRowLanes + k, to + (element + c * inner_) * size, run, false,
                   nullptr);
    });
  }

  // Where the block after this one lies, as far as it can be fetched in one go.
  const void* next(const Matrix& matrix, int64_t first, const void* otherwise) const {
    return inner_ == 1 ? matrix.data + (first + kRowLanes) * classes_ * matrix.size : otherwise;
  }

 private:
  // Calls run(lane, size, element) for the rows of a block that lie side by side.
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
