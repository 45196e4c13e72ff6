// Vectors of 16 bytes at any address, such as those of rows with an odd number of classes: each is
// composed of the two aligned vectors that contain it.
#pragma once

#include "cuda/common/device.h"
#include "cuda/common/layout.h"
#include "cuda/common/vector.h"

namespace fastloss {
namespace FASTLOSS_ISA {

FASTLOSS_INLINE uint32_t funnel(uint32_t low, uint32_t high, int bits) {
#ifdef __CUDA_ARCH__
  return __funnelshift_r(low, high, bits);
#else
  return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> bits);
#endif
}

// Bytes [bytes, bytes + 16) of 32, for 0 < bytes < 16.
FASTLOSS_INLINE void shift_words(const uint32_t (&from)[8], int bytes, uint32_t* to) {
  uint32_t by_bits[7], by_word[6];
  FASTLOSS_UNROLL
  for (int i = 0; i < 7; ++i) by_bits[i] = funnel(from[i], from[i + 1], bytes % 4 * 8);
  FASTLOSS_UNROLL
  for (int i = 0; i < 6; ++i) by_word[i] = bytes & 4 ? by_bits[i + 1] : by_bits[i];
  FASTLOSS_UNROLL
  for (int i = 0; i < 4; ++i) to[i] = bytes & 8 ? by_word[i + 2] : by_word[i];
}

// Loads 16 bytes from `at`, of which the caller uses `count` elements; [begin, end) is readable.
template <int kSize>
FASTLOSS_INLINE void load_unaligned(const char* at, int count, const char* begin, const char* end,
                                    uint32_t* words) {
  constexpr int kWidth = 16 / kSize;
  const int bytes = static_cast<int>(reinterpret_cast<uintptr_t>(at) % 16);
  const char* const low = at - bytes;
  if (bytes == 0 || count < kWidth || low < begin || end - low < 32)
    return load<kSize, kWidth>(at, 0, 0, count, words);
  uint32_t both[8];
  load_whole<32>(low, both);
  shift_words(both, bytes, words);
}

// Stores the neighbouring vectors of a warp, each at its own `at`: the first `count` elements of
// the lane's vector, where the next lane's has `next_count`. All threads of a block must call.
template <int kSize>
__device__ __forceinline__ void store_unaligned(const uint32_t (&words)[4], int count,
                                                int next_count, char* at) {
  constexpr int kWidth = 16 / kSize;
  const Words4 next = from_lane_above(Words4{{words[0], words[1], words[2], words[3]}}, 1, kWarp);
  uint32_t both[8];
  FASTLOSS_UNROLL
  for (int i = 0; i < 4; ++i) both[i] = words[i], both[4 + i] = next.word[i];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int bytes = static_cast<int>(reinterpret_cast<uintptr_t>(at) % 16);
  if (bytes == 0) return store<kSize, kWidth>(words, 0, 0, count, at);
  // The elements before the next multiple of 16, which the lane below stores with its own tail.
  const int head = (16 - bytes) / kSize;
  const bool takes_next = lane < kWarp - 1 && next_count >= head;
  if (takes_next) {
    uint32_t shifted[4];
    shift_words(both, 16 - bytes, shifted);
    store_whole<16>(shifted, at + (16 - bytes));
  }
  const int begin = lane > 0 && count >= head ? head : 0, end = takes_next ? head : count;
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i)
    if (i >= begin && i < end)
      reinterpret_cast<typename RawOf<kSize>::Bits*>(at)[i] = get<kSize>(words, i);
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
