// The sums of each class that a block has of a piece.
#pragma once

#include "cuda/overlap/tile.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Adds class c of positions first, first + step, ... of a tile to `sums`. Only the few additions of
// a tile are in T.
template <class Tile>
__device__ __forceinline__ void add_class(const Tile& tile, int c, int first, int step,
                                          double* sums) {
  using T = typename Tile::T;
  const bool softmax = tile.pass.activation == FASTLOSS_SOFTMAX;
  T intersection = 0, prediction = 0, label = 0;
  for (int position = first; position < tile.count; position += step) {
    T p = tile.rows[position * tile.stride + c];
    if (softmax) p *= tile.factors[position];
    prediction += tile.pass.squared ? p * p : p;
    if constexpr (Tile::kDense) {
      const T y = tile.labels[position * tile.stride + c];
      intersection += y * p;
      label += tile.pass.squared ? y * y : y;
    } else if (tile.label_indices[position] == c) {
      intersection += p;
      label += T(1);
    }
  }
  sums[0] += double(intersection), sums[1] += double(prediction), sums[2] += double(label);
}

// Each thread adds up one class of a slice of a tile's positions; of a wide tile, which has more
// classes than the block has threads, all positions of several classes.
template <class Tile, bool kWide>
class OverlapBlockSums {
 public:
  __device__ __forceinline__ explicit OverlapBlockSums(const Tile& tile)
      : tile_(tile),
        slices_(kThreads / tile.classes),
        slice_(static_cast<int>(threadIdx.x) / tile.classes),
        class_(static_cast<int>(threadIdx.x) - slice_ * tile.classes) {}

  __device__ __forceinline__ void clear() {
    sums_[0] = sums_[1] = sums_[2] = 0;
    if constexpr (kWide)
      for (int64_t i = threadIdx.x; i < 3 * int64_t(tile_.classes); i += kThreads)
        tile_.wide_sums[i] = 0;
    const int64_t count = tile_.layout.slots * tile_.layout.sums_of_slot();
    double* const fused_sums = static_cast<double*>(tile_.slots);
    for (int64_t i = threadIdx.x; i < count; i += kThreads) fused_sums[i] = 0;
    __syncthreads();
  }

  __device__ __forceinline__ void add() {
    if constexpr (kWide) {
      for (int c = static_cast<int>(threadIdx.x); c < tile_.classes; c += kThreads)
        add_class(tile_, c, 0, 1, tile_.wide_sums + 3 * int64_t(c));
    } else if (slice_ < slices_) {
      add_class(tile_, class_, slice_, slices_, sums_);
    }
  }

  // Writes the sums of the piece to the pass's partials.
  __device__ __forceinline__ void write(int64_t piece) {
    const OverlapLayout& layout = tile_.layout;
    write_fused_terms(piece);
    double* const to =
        tile_.pass.partials + tile_.image * tile_.classes * 3 * layout.pieces + piece;
    if constexpr (kWide) {
      for (int64_t i = threadIdx.x; i < 3 * int64_t(tile_.classes); i += kThreads)
        to[i * layout.pieces] = tile_.wide_sums[i];
    } else {
      // (3, threads): the upper half of the slices is added to the lower one until one is left.
      double* const table = static_cast<double*>(shared_memory());
      FASTLOSS_UNROLL
      for (int k = 0; k < 3; ++k) table[k * kThreads + threadIdx.x] = sums_[k];
      __syncthreads();
      for (int left = slices_; left > 1;) {
        const int half = (left + 1) / 2;
        if (slice_ + half < left) FASTLOSS_UNROLL
        for (int k = 0; k < 3; ++k)
          table[k * kThreads + threadIdx.x] +=
              table[k * kThreads + threadIdx.x + half * tile_.classes];
        __syncthreads();
        left = half;
      }
      if (slice_ == 0) FASTLOSS_UNROLL
      for (int k = 0; k < 3; ++k)
        to[(3 * class_ + k) * layout.pieces] = table[k * kThreads + threadIdx.x];
    }
    __syncthreads();
  }

 private:
  __device__ __forceinline__ void write_fused_terms(int64_t piece) {
    const OverlapLayout& layout = tile_.layout;
    const int thread = static_cast<int>(threadIdx.x);
    for (int64_t k = 0; k < layout.slots; ++k) {
      const double sum = block_sum(thread < layout.sums_of_slot() ? tile_.sum(k, thread) : 0.0);
      if (thread == 0)
        tile_.pass.values[k * layout.units() + tile_.image * layout.pieces + piece] = sum;
    }
    __syncthreads();
  }

  const Tile& tile_;
  const int slices_, slice_, class_;
  double sums_[3];
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
