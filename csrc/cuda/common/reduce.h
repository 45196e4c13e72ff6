// Sums over threads in a fixed order, so that their bits do not depend on scheduling.
#pragma once

#include "cuda/common/device.h"
#include "cuda/common/layout.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Adds number i + half to number i, for half = kCount / 2, ..., 1; kCount is a power of two.
template <class T, int kCount>
FASTLOSS_INLINE T tree_sum(const T (&x)[kCount]) {
  T sums[kCount];
  FASTLOSS_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = x[i];
  FASTLOSS_UNROLL
  for (int half = kCount / 2; half > 0; half /= 2) FASTLOSS_UNROLL
  for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  return sums[0];
}

// The same tree over `width` neighbouring threads of a warp; the first of them gets the sum.
template <class T>
__device__ __forceinline__ T lanes_sum(T x, int width) {
  FASTLOSS_UNROLL
  for (int half = width / 2; half > 0; half /= 2) x += from_lane_above(x, half, width);
  return x;
}

// Combines the values of `width` neighbouring lanes, a power of two, in all of them. `combine` must
// be commutative to the bit: then all lanes get the same bits. All threads of a block must call.
template <class X, class Combine>
__device__ __forceinline__ X combine_lanes(X x, int width, const Combine& combine) {
  for (int mask = width / 2; mask > 0; mask /= 2) x = combine(x, from_lane_across(x, mask));
  return x;
}

// The sum over the block, first within each warp. All threads must call, and all get the sum.
template <class T>
__device__ __forceinline__ T block_sum(T x) {
  __shared__ T of_warps[kThreads / kWarp];
  x = lanes_sum(x, kWarp);
  // Other threads may still be reading the result of an earlier call.
  __syncthreads();
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = x;
  __syncthreads();
  return tree_sum(of_warps);
}

// The sum of x[0] ... x[count - 1] over the block.
template <class T>
__device__ __forceinline__ double block_sum_of(const T* x, int64_t count) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += double(x[i]);
  return block_sum(sum);
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
