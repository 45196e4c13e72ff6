// The kernels of the rowwise pattern, by how the classes of a row lie in memory.
#pragma once

#include "cuda/rowwise/row_pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Contiguous rows of up to so many classes stay in registers.
constexpr int64_t kShortRowClasses = 256;
// Up to so many bytes a longer row has a warp or a block of kThreads, beyond that a larger block.
constexpr int64_t kWarpRowBytes = 4 << 10, kMediumRowBytes = 32 << 10;

// Rows that a block processes at once, for short, longer contiguous, and strided ones.
int64_t rows_of_tile(int64_t classes);
inline int64_t contiguous_rows_at_once(int64_t classes, int64_t size) {
  return classes * size <= kWarpRowBytes ? kThreads / kWarp : 1;
}
constexpr int64_t kStridedRows = kThreads;

// Each computes the outputs that the pass has. `at_label` says whether the loss depends on the
// label's class alone.
template <int kSize>
int launch_short_rows(const RowPass<typename Predictions<kSize>::T>& pass, bool at_label,
                      void* stream);
template <int kSize>
int launch_contiguous_rows(const RowPass<typename Predictions<kSize>::T>& pass, bool at_label,
                           void* stream);
template <int kSize>
int launch_strided_rows(const RowPass<typename Predictions<kSize>::T>& pass, bool at_label,
                        void* stream);

// Each size is compiled in a file of its own, in parallel.
template <>
int launch_contiguous_rows<2>(const RowPass<float>& pass, bool at_label, void* stream);
template <>
int launch_contiguous_rows<4>(const RowPass<float>& pass, bool at_label, void* stream);
template <>
int launch_contiguous_rows<8>(const RowPass<double>& pass, bool at_label, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
