// Sums in one order, whatever runs when.
#pragma once

#include "cuda/common/device.h"
#include "cuda/common/layout.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Number i is added to number i - half, for half = count / 2 ... 1; count is a power of two.
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

// The same tree over `width` neighbouring threads of a warp; the first of them has the sum.
template <class T>
__device__ __forceinline__ T lanes_sum(T x, int width) {
  FASTLOSS_UNROLL
  for (int half = width / 2; half > 0; half /= 2) x += from_lane_above(x, half, width);
  return x;
}

// Over the block: by warps, and then over the warps. All threads must call and all get the sum.
template <class T>
__device__ __forceinline__ T block_sum(T x) {
  __shared__ T of_warps[kThreads / kWarp];
  x = lanes_sum(x, kWarp);
  // What an earlier call left here has been read.
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
