// How the overlap pattern is divided. An image is what has sums of its own: an outer index, or the
// whole array. A block takes a piece of an image tile by tile; a tile holds all classes of some
// positions, in shared memory where they fit. The division depends on the call alone.
#pragma once

#include <algorithm>

#include "api/overlap_call.h"
#include "cuda/common/divider.h"
#include "cuda/common/layout.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Whether the loss depends on how many positions are not ignored.
inline bool counts_positions(const fastloss_overlap& call) {
  return call.has_ignore_class && find_loss(kOverlapLosses, call.loss)->counts_positions;
}

// Each image has shape (positions, classes). Where classes do not matter, all elements are
// positions of a single class.
struct OverlapLayout {
  // Beyond these a tile lies in global memory, as each thread adds up one class of a tile.
  static constexpr int64_t kMaxClasses = kThreads;
  static constexpr int kMaxPositionBits = 11, kMinPositionBits = 3;
  // Shared memory that lets several blocks share a multiprocessor, and the most that every GPU
  // grants, beside the kernels' static arrays.
  static constexpr int64_t kTargetBytes = 24 << 10, kMaxBytes = 47 << 10;
  static constexpr int64_t kMaxUnits = 4096, kMaxWideBlocks = 512;

  int64_t images = 1, positions = 0, classes = 1;
  bool wide = false;                                  // tiles lie in global memory
  bool dense = true;                                  // labels have the shape of the predictions
  int64_t slots = 0;                                  // sums of fused terms, and of positions
  int32_t position_bits = kMinPositionBits;           // a tile has 2^position_bits positions
  int32_t lanes = kWarp;                              // threads of a position
  int64_t stride = 1;                                 // from position to position
  int64_t tiles = 0, tiles_of_piece = 1, pieces = 0;  // of an image
  Divider by_pieces, by_classes, by_inner;

  OverlapLayout() = default;
  OverlapLayout(const fastloss_overlap& call, int64_t wide_size) {
    const bool has_classes = by_position(call) || by_class(call);
    images = call.per_outer ? call.outer : 1;
    const int64_t rows = call.outer * call.above * call.inner * (has_classes ? 1 : call.classes);
    positions = images ? rows / images : 0;
    classes = has_classes ? call.classes : 1;
    if (classes < 1) positions = 0;
    const int64_t inner = has_classes ? call.inner : 1;
    dense = !call.sparse;
    wide = classes > kMaxClasses;
    const bool counts = call.fused_term_count || counts_positions(call);
    slots = counts ? call.fused_term_count + 1 : 0;
    choose_tile(wide_size);
    tiles = ceil_div(positions, positions_of_tile());
    const int64_t max_pieces =
        std::max<int64_t>(1, (wide ? kMaxWideBlocks : kMaxUnits) / std::max<int64_t>(1, images));
    tiles_of_piece = std::max<int64_t>(1, ceil_div(tiles, max_pieces));
    pieces = ceil_div(tiles, tiles_of_piece);
    by_pieces = Divider(std::max<int64_t>(1, pieces));
    by_classes = Divider(std::max<int64_t>(1, classes));
    by_inner = Divider(std::max<int64_t>(1, inner));
  }

  FASTLOSS_INLINE int64_t units() const { return images * pieces; }
  int64_t blocks() const { return std::min(units(), wide ? kMaxWideBlocks : int64_t(1) << 20); }
  FASTLOSS_INLINE int positions_of_tile() const { return 1 << position_bits; }
  FASTLOSS_INLINE int groups() const { return kThreads / lanes; }
  FASTLOSS_INLINE int64_t inner() const { return by_inner.divisor(); }
  // Predictions, or labels, that a tile has space for.
  FASTLOSS_INLINE int64_t tile_size() const { return positions_of_tile() * stride; }
  // A slot has a sum for each position that is processed at once, or for each warp.
  FASTLOSS_INLINE int64_t sums_of_slot() const { return groups(); }

  // Shared memory: the slots, the tile unless it is wide, and a factor and a label index for each
  // position. At the end of a piece the sums of all threads take its place.
  int64_t shared_bytes(int64_t wide_size, int64_t slot_bytes = sizeof(double)) const {
    const int64_t rows = wide ? 0 : (tile_size() * (1 + dense) + 2 * classes) * wide_size;
    const int64_t bytes = slots * sums_of_slot() * slot_bytes + rows +
                          positions_of_tile() * (wide_size + int64_t(sizeof(int32_t)));
    return std::max(bytes, int64_t(3 * kThreads * sizeof(double)));
  }
  // Global memory of each block for a wide tile and its sums.
  FASTLOSS_INLINE int64_t workspace_bytes(int64_t wide_size) const {
    if (!wide) return 0;
    const int64_t rows = (tile_size() * (1 + dense) + 2 * classes) * wide_size;
    return (rows + 7) / 8 * 8 + 3 * classes * int64_t(sizeof(double));
  }

 private:
  void choose_tile(int64_t wide_size) {
    position_bits = wide ? kMinPositionBits : kMaxPositionBits;
    while (position_bits > kMinPositionBits && positions_of_tile() / 2 >= positions)
      --position_bits;
    for (;; --position_bits) {
      lanes = std::max(1, kThreads / positions_of_tile());
      // Threads at the same class of neighbouring positions access different banks.
      stride = classes / (2 * lanes) * (2 * lanes) + lanes;
      if (stride < classes) stride += 2 * lanes;
      if (position_bits == kMinPositionBits || shared_bytes(wide_size) <= kTargetBytes) return;
    }
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
