// Everything the kernels and drivers use of CUDA. Tests compile the same sources for the host, with
// a header of their own in place of these definitions, so that no GPU is needed to run them.
#pragma once

#include <cstdint>

#include "api/error.h"

#ifdef __CUDACC__

#include <cuda_runtime.h>

namespace fastloss {
namespace cuda {

// Applies `shuffle` to each 32-bit word, since that is what the hardware exchanges.
template <class T, class Shuffle>
__device__ __forceinline__ T by_words(const T& x, const Shuffle& shuffle) {
  static_assert(sizeof(T) % 4 == 0, "lanes exchange 32-bit words");
  uint32_t words[sizeof(T) / 4];
  __builtin_memcpy(words, &x, sizeof(x));
#pragma unroll
  for (uint32_t& word : words) word = shuffle(word);
  T other;
  __builtin_memcpy(&other, words, sizeof(other));
  return other;
}

// The value of the lane `distance` above, within groups of `width` lanes. All threads of a block
// must call.
template <class T>
__device__ __forceinline__ T from_lane_above(const T& x, int distance, int width) {
  return by_words(
      x, [&](uint32_t word) { return __shfl_down_sync(0xffffffffu, word, distance, width); });
}

// The value of the lane whose index differs in the bits of `mask`. All threads of a block must
// call.
template <class T>
__device__ __forceinline__ T from_lane_across(const T& x, int mask) {
  return by_words(x, [&](uint32_t word) { return __shfl_xor_sync(0xffffffffu, word, mask); });
}

// The dynamic shared memory of a block, of the size that its launch requested.
__device__ __forceinline__ void* shared_memory() {
  extern __shared__ uint4 fastloss_shared[];
  return fastloss_shared;
}

// A launch gets up to 48 KiB of shared memory without opting in; the rest is left to the kernels'
// static arrays.
constexpr int64_t kSharedBytes = 46 << 10;

// The most that a launch may opt in to, again without what static arrays need.
inline int64_t max_shared_bytes() {
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) ||
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device)) {
    cudaGetLastError();
    return kSharedBytes;
  }
  return bytes - (2 << 10);
}

// 0, or -1 with the reason.
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared_bytes,
           void* stream, const Arguments&... arguments) {
  if (shared_bytes > kSharedBytes)
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(shared_bytes));
  kernel<<<static_cast<unsigned>(blocks), threads, static_cast<size_t>(shared_bytes),
           static_cast<cudaStream_t>(stream)>>>(arguments...);
  const cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) return 0;
  return fail("CUDA refused to start a kernel of %lld blocks: %s", static_cast<long long>(blocks),
              cudaGetErrorString(error));
}

}  // namespace cuda
}  // namespace fastloss

#else

#include "cuda_on_host.h"

#endif
