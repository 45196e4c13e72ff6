// The threads that share a row, and how they put together what each of them knows.
#pragma once

#include "cuda/common/device.h"
#include "cuda/common/layout.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Over `width` neighbouring lanes, a power of two: each gets what all are joined to. As a join does
// not ask which of two comes first, all get the same bits.
template <class X, class Combine>
__device__ __forceinline__ X combine_lanes(X x, int width, const Combine& combine) {
  for (int mask = width / 2; mask > 0; mask /= 2) x = combine(x, from_lane_across(x, mask));
  return x;
}

// A thread by itself.
struct Alone {
  template <class X, class Combine>
  __device__ __forceinline__ X combine(const X& x, const Combine&) const {
    return x;
  }
};

// Some lanes of a warp.
struct SomeLanes {
  int width;
  template <class X, class Combine>
  __device__ __forceinline__ X combine(const X& x, const Combine& combine) const {
    return combine_lanes(x, width, combine);
  }
};

// kThreadsOfRow threads of a block of kThreadsOfBlock: a warp, or all of them.
template <int kThreadsOfRow, int kThreadsOfBlock>
struct RowGroup {
  static constexpr int kCount = kThreadsOfRow, kBlock = kThreadsOfBlock;
  static constexpr int kRows = kBlock / kCount;
  static constexpr bool kWhole = kRows == 1;
  static_assert(kCount == kWarp || kWhole, "a row has a warp, or the block");

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
      // What an earlier call left here has been read.
      __syncthreads();
      if (thread % kWarp == 0) of_warps[thread / kWarp] = x;
      __syncthreads();
      return combine_lanes(of_warps[thread % kWarps], kWarps, combine);
    }
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
