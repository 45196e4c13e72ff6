// The kernel for long contiguous rows, each of which has a warp or a block.
#pragma once

#include <algorithm>

#include "cuda/common/reduce.h"
#include "cuda/rowwise/contiguous_row.h"
#include "cuda/rowwise/rows.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Blocks that share a multiprocessor. The bound keeps the compiler from spilling registers for
// more.
template <int kSize, class Group>
constexpr int kMinBlocks = kSize < 8 && Group::kBlock == kThreads ? 2 : 1;

template <int kSize, bool kAtLabel, class Group>
__global__ void __launch_bounds__(Group::kBlock, kMinBlocks<kSize, Group>)
    contiguous_rows(const __grid_constant__ RowPass<typename Predictions<kSize>::T> pass,
                    const RowCache cache) {
  using T = typename Predictions<kSize>::T;
  using Classes = ContiguousRow<kSize, kAtLabel, Group>;
  const Group group;
  const T scale = pass.gradient ? pass.scale() : T(0);
  const int64_t end = pass.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t base = pass.pieces.begin(blockIdx.x); base < end; base += Group::kRows) {
    const bool exists = base + Group::row() < end;
    const RowTask<T> task = pass.task(exists ? base + Group::row() : base, scale);
    Classes row(pass, task, cache, exists);
    const bool writes = exists && Group::lane() == 0;
    // A row that is skipped is not read, unless other warps of the block need their barriers.
    if (Group::kIsBlock && task.skips) {
      if (pass.gradient)
        row.template for_each<false>({false, false, false},
                                     [&](const ClassSlice& slice, const auto&, const auto&) {
                                       T fill[Classes::kWidth];
                                       FASTLOSS_UNROLL
                                       for (int i = 0; i < Classes::kWidth; ++i)
                                         fill[i] = task.fill;
                                       row.store(slice, fill);
                                     });
      sum += write_result(pass, task, {task.fill, task.fill, false}, writes);
      continue;
    }
    RowLoss<kAtLabel, T, Classes, Group> loss(pass, task, row, group);
    const RowResult<T> result = loss.compute();
    sum += write_result(pass, task, result, writes);
  }
  if (!pass.partials) return;
  if constexpr (!Group::kIsBlock) sum = block_sum(sum);
  if (threadIdx.x == 0) pass.partials[blockIdx.x] = sum;
}

// A block that has all shared memory of a multiprocessor to itself needs more threads to keep
// enough loads in flight. With rows of labels it needs the registers of fewer threads.
template <bool kAtLabel>
using LongRow = RowGroup<kAtLabel ? 512 : kThreads, kAtLabel ? 512 : kThreads>;
using MediumRow = RowGroup<kThreads, kThreads>;
using WarpRow = RowGroup<kWarp, kThreads>;

// Shared memory of a block that leaves some to others on its multiprocessor.
constexpr int64_t kModestBytes = 64 << 10;

template <int kSize, bool kAtLabel, class Group>
int launch_with(const RowPass<typename Predictions<kSize>::T>& pass, int64_t shared, void* stream) {
  using Classes = ContiguousRow<kSize, kAtLabel, Group>;
  constexpr int kWidth = Classes::kWidth;
  RowCache cache = {0, 0};
  if (!kAtLabel && !pass.sparse)
    cache.label_words = std::max(1, Classes::kPart * pass.y_true_size / 4);
  const int64_t bytes = Group::kRows * (16 + 4 * Classes::kParts * cache.label_words);
  // The softmax alone reads a row only once.
  if (!kAtLabel || pass.gradient || pass.hit)
    cache.vectors = static_cast<int>(
        std::min((pass.classes + 4 * kWidth - 1) / (4 * kWidth), shared / (4 * bytes)) * 4);
  return launch(contiguous_rows<kSize, kAtLabel, Group>, pass.pieces.count, Group::kBlock,
                cache.vectors * bytes, stream, pass, cache);
}

template <int kSize, bool kAtLabel>
int launch_contiguous(const RowPass<typename Predictions<kSize>::T>& pass, void* stream) {
  const int64_t bytes = pass.classes * kSize, shared = max_shared_bytes();
  const int64_t modest = std::min(shared, kModestBytes);
  if (bytes <= kWarpRowBytes) return launch_with<kSize, kAtLabel, WarpRow>(pass, modest, stream);
  if (bytes <= kMediumRowBytes)
    return launch_with<kSize, kAtLabel, MediumRow>(pass, modest, stream);
  return launch_with<kSize, kAtLabel, LongRow<kAtLabel>>(pass, shared, stream);
}

#define FASTLOSS_INSTANTIATE_CONTIGUOUS_ROWS(SIZE)                                     \
  template <>                                                                          \
  int launch_contiguous_rows<SIZE>(const RowPass<typename Predictions<SIZE>::T>& pass, \
                                   bool at_label, void* stream) {                      \
    return at_label ? launch_contiguous<SIZE, true>(pass, stream)                      \
                    : launch_contiguous<SIZE, false>(pass, stream);                    \
  }

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
