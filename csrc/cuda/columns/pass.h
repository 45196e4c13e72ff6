// The pass over ranges of columns, each with a loss of its own: its parameters.
#pragma once

#include <algorithm>

#include "api/columns_call.h"
#include "cuda/common/layout.h"
#include "cuda/elementwise/terms.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Predictions that a block holds in shared memory, and as many derivatives.
template <class T>
constexpr int64_t kColumnTileCapacity = int64_t(8192) / int64_t(sizeof(T));

template <class T>
struct TaggedTask {
  TaggedTerm<T> term;
  int64_t first_true, first_pred, columns;
};

template <class T>
struct TaggedTasks {
  int32_t count;
  TaggedTask<T> tasks[FASTLOSS_CUDA_MAX_TERMS];
};

// How predictions of shape (rows, columns) are divided into tiles: several whole rows, or a part of
// a long one.
struct RowTiles {
  int64_t rows = 0, columns = 0, width = 1;  // width: of a tile
  int64_t rows_of_tile = 1, tiles_of_row = 1;
  Pieces pieces;  // of tiles

  RowTiles() = default;
  RowTiles(int64_t rows, int64_t columns, int64_t capacity) : rows(rows), columns(columns) {
    if (!rows || !columns) return;
    width = std::min(columns, capacity);
    tiles_of_row = ceil_div(columns, width);
    rows_of_tile = capacity / width;
    pieces = Pieces(ceil_div(rows, rows_of_tile) * tiles_of_row, 1);
  }
};

template <class T>
struct ColumnPass {
  RowTiles tiles;
  int32_t y_true_dtype, y_true_size, y_pred_dtype, y_pred_size;
  int64_t true_columns;
  const void* y_true;
  const void* y_pred;
  void* gradient;              // or null
  double* partials;            // (tasks, pieces), or null
  BroadcastWeights<T> weight;  // of rows, or without data
  const T* factor;             // of tasks, or null
  const T* upstream;
  Inverse inverse;
};

template <class T>
int launch_columns(const TaggedTasks<T>& tasks, const ColumnPass<T>& pass, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
