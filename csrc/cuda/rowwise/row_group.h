// The threads that share a row, and how their partial results are combined.
#pragma once

#include "cuda/common/reduce.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// One thread has the whole row.
struct SingleThread {
  template <class X, class Combine>
  __device__ __forceinline__ X combine(const X& x, const Combine&) const {
    return x;
  }
};

// `width` neighbouring lanes of a warp.
struct LaneGroup {
  int width;
  template <class X, class Combine>
  __device__ __forceinline__ X combine(const X& x, const Combine& combine) const {
    return combine_lanes(x, width, combine);
  }
};

// kThreadsOfRow threads of a block of kThreadsOfBlock: a warp, or the whole block.
template <int kThreadsOfRow, int kThreadsOfBlock>
struct RowGroup {
  static constexpr int kCount = kThreadsOfRow, kBlock = kThreadsOfBlock;
  static constexpr int kRows = kBlock / kCount;
  static constexpr bool kIsBlock = kRows == 1;
  static_assert(kCount == kWarp || kIsBlock, "a row has a warp or the block");

  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % kCount; }
  static __device__ __forceinline__ int row() { return static_cast<int>(threadIdx.x) / kCount; }

  template <class X, class Combine>
  __device__ __forceinline__ X combine(X x, const Combine& combine) const {
    x = combine_lanes(x, kWarp, combine);
    if constexpr (kCount == kWarp) {
      return x;
    } else {
      constexpr int kWarps = kCount / kWarp;
      __shared__ X of_warps[kWarps];
      const int thread = static_cast<int>(threadIdx.x);
      // Other threads may still be reading the result of an earlier call.
      __syncthreads();
      if (thread % kWarp == 0) of_warps[thread / kWarp] = x;
      __syncthreads();
      return combine_lanes(of_warps[thread % kWarps], kWarps, combine);
    }
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
