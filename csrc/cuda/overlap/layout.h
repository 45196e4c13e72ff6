// How the overlap pattern is cut. An image is what has sums of its own: an outer, or all. A block
// takes a piece of an image by tiles, and of a tile keeps all classes of some positions, in shared
// memory where they fit. All of it follows from the call alone.
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

// (positions, classes) of each image, or where classes do not matter, elements of one class.
struct OverlapLayout {
  // A thread adds up one class of a tile, so that more than these go through memory.
  static constexpr int64_t kMostClasses = kThreads;
  static constexpr int kMostBits = 11, kFewestBits = 3;
  // Several blocks of so much share a multiprocessor; what one may have beside kernels' own little.
  static constexpr int64_t kGoodBytes = 24 << 10, kMostBytes = 47 << 10;
  static constexpr int64_t kPiecesOfAll = 4096, kWideBlocks = 512;

  int64_t images = 1, positions = 0, classes = 1;
  bool wide = false;                                  // rows of classes lie in memory
  bool dense = true;                                  // labels lie beside the predictions
  int64_t slots = 0;                                  // of the sums of fused_terms
  int32_t position_bits = kFewestBits;                // 2 to this are the positions of a tile
  int32_t lanes = kWarp;                              // threads of a position
  int64_t stride = 1;                                 // from position to position
  int64_t tiles = 0, tiles_of_piece = 1, pieces = 0;  // of an image
  Divider by_pieces, by_classes, by_inner;

  OverlapLayout() = default;
  OverlapLayout(const fastloss_overlap& call, int64_t wide_size) {
    const bool apart = by_position(call) || by_class(call);
    images = call.per_outer ? call.outer : 1;
    const int64_t rows = call.outer * call.above * call.inner * (apart ? 1 : call.classes);
    positions = images ? rows / images : 0;
    classes = apart ? call.classes : 1;
    if (classes < 1) positions = 0;
    const int64_t inner = apart ? call.inner : 1;
    dense = !call.sparse;
    wide = classes > kMostClasses;
    // The last counts positions.
    const bool counts = call.fused_term_count || counts_positions(call);
    slots = counts ? call.fused_term_count + 1 : 0;
    choose_tile(wide_size);
    tiles = ceil_div(positions, positions_of_tile());
    const int64_t most =
        std::max<int64_t>(1, (wide ? kWideBlocks : kPiecesOfAll) / std::max<int64_t>(1, images));
    tiles_of_piece = std::max<int64_t>(1, ceil_div(tiles, most));
    pieces = ceil_div(tiles, tiles_of_piece);
    by_pieces = Divider(std::max<int64_t>(1, pieces));
    by_classes = Divider(std::max<int64_t>(1, classes));
    by_inner = Divider(std::max<int64_t>(1, inner));
  }

  FASTLOSS_INLINE int64_t units() const { return images * pieces; }
  int64_t blocks() const { return std::min(units(), wide ? kWideBlocks : int64_t(1) << 20); }
  FASTLOSS_INLINE int positions_of_tile() const { return 1 << position_bits; }
  FASTLOSS_INLINE int groups() const { return kThreads / lanes; }
  FASTLOSS_INLINE int64_t inner() const { return by_inner.divisor(); }
  // Numbers of a tile, of predictions or of labels.
  FASTLOSS_INLINE int64_t room() const { return positions_of_tile() * stride; }
  // One for each position that is looked at at once, or for each warp.
  FASTLOSS_INLINE int64_t sums_of_slot() const { return groups(); }

  // Of shared memory: sums of fused_terms, what wide tiles have elsewhere, a factor and a mark for
  // each position. At the end the sums of all threads lie there instead.
  int64_t shared_bytes(int64_t wide_size) const {
    const int64_t rows = wide ? 0 : (room() * (1 + dense) + 2 * classes) * wide_size;
    const int64_t bytes = slots * sums_of_slot() * int64_t(sizeof(double)) + rows +
                          positions_of_tile() * (wide_size + int64_t(sizeof(int32_t)));
    return std::max(bytes, int64_t(3 * kThreads * sizeof(double)));
  }
  // Of memory for each block, if wide: sums, and what others have in shared memory.
  FASTLOSS_INLINE int64_t workspace_bytes(int64_t wide_size) const {
    if (!wide) return 0;
    const int64_t rows = (room() * (1 + dense) + 2 * classes) * wide_size;
    return (rows + 7) / 8 * 8 + 3 * classes * int64_t(sizeof(double));
  }

 private:
  void choose_tile(int64_t wide_size) {
    position_bits = wide ? kFewestBits : kMostBits;
    while (position_bits > kFewestBits && positions_of_tile() / 2 >= positions) --position_bits;
    for (;; --position_bits) {
      lanes = std::max(1, kThreads / positions_of_tile());
      // Threads that stand at the same class of neighbouring positions meet different banks.
      stride = classes / (2 * lanes) * (2 * lanes) + lanes;
      if (stride < classes) stride += 2 * lanes;
      if (position_bits == kFewestBits || shared_bytes(wide_size) <= kGoodBytes) return;
    }
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
