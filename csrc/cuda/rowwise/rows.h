// The kernels of the rowwise pattern, by where a row's classes lie.
#pragma once

#include "cuda/rowwise/row_pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Rows of up to so many classes that lie side by side stay in registers.
constexpr int64_t kTileClasses = 256;
// Longer ones have a warp, a block of kThreads or a larger block, by their bytes.
constexpr int64_t kWarpRow = 4 << 10, kMiddleRow = 32 << 10;

// Rows that one block takes at a time, by classes that lie side by side and the size of one, or by
// classes that lie apart.
int64_t rows_of_tile(int64_t classes);
inline int64_t rows_along_at_once(int64_t classes, int64_t size) {
  return classes * size <= kWarpRow ? kThreads / kWarp : 1;
}
constexpr int64_t kRowsApart = kThreads;

// Each starts what `walk` wants: sums of pieces, losses of rows, gradients. `picks` says whether
// the loss looks at the label's class alone.
template <int kSize>
int launch_rows_in_tiles(const RowWalk<typename Predictions<kSize>::T>& walk, bool picks,
                         void* stream);
template <int kSize>
int launch_rows_along(const RowWalk<typename Predictions<kSize>::T>& walk, bool picks,
                      void* stream);
template <int kSize>
int launch_rows_apart(const RowWalk<typename Predictions<kSize>::T>& walk, bool picks,
                      void* stream);

// Each size of rows along memory is compiled in a file of its own.
template <>
int launch_rows_along<2>(const RowWalk<float>& walk, bool picks, void* stream);
template <>
int launch_rows_along<4>(const RowWalk<float>& walk, bool picks, void* stream);
template <>
int launch_rows_along<8>(const RowWalk<double>& walk, bool picks, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
