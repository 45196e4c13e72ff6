// Loads and stores of vectors of elements of any size: 16 bytes at a time where their address
// allows it, element by element elsewhere and at the ends of an array. Elements are raw bits here;
// dtypes.h converts them.
#pragma once

#include <cstdint>

#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// 32-bit words that kWidth elements take.
template <int kSize, int kWidth>
constexpr int kWordsOf = (kSize * kWidth + 3) / 4;

template <int kSize>
struct RawOf;
template <>
struct RawOf<1> {
  using Bits = uint8_t;
};
template <>
struct RawOf<2> {
  using Bits = uint16_t;
};
template <>
struct RawOf<4> {
  using Bits = uint32_t;
};
template <>
struct RawOf<8> {
  using Bits = uint64_t;
};

// Element i of a vector.
template <int kSize>
FASTLOSS_INLINE typename RawOf<kSize>::Bits get(const uint32_t* words, int i) {
  using Bits = typename RawOf<kSize>::Bits;
  if constexpr (kSize == 8) {
    return words[2 * i] | static_cast<uint64_t>(words[2 * i + 1]) << 32;
  } else {
    constexpr int kOfWord = 4 / kSize;
    return static_cast<Bits>(words[i / kOfWord] >> (i % kOfWord * 8 * kSize % 32));
  }
}

// Sets element i of a vector that holds 0 there.
template <int kSize>
FASTLOSS_INLINE void put(uint32_t* words, int i, typename RawOf<kSize>::Bits bits) {
  if constexpr (kSize == 8) {
    words[2 * i] = static_cast<uint32_t>(bits);
    words[2 * i + 1] = static_cast<uint32_t>(bits >> 32);
  } else {
    constexpr int kOfWord = 4 / kSize;
    words[i / kOfWord] |= static_cast<uint32_t>(bits) << (i % kOfWord * 8 * kSize % 32);
  }
}

struct alignas(16) Words4 {
  uint32_t word[4];
};
struct alignas(8) Words2 {
  uint32_t word[2];
};

template <int kBytes>
FASTLOSS_INLINE bool is_aligned(const void* at) {
  constexpr int kAccess = kBytes < 16 ? kBytes : 16;
  return reinterpret_cast<uintptr_t>(at) % kAccess == 0;
}

template <int kBytes>
FASTLOSS_INLINE void load_whole(const void* at, uint32_t* words) {
  if constexpr (kBytes >= 16) {
    FASTLOSS_UNROLL
    for (int k = 0; k < kBytes / 16; ++k) {
#ifdef __CUDACC__
      const uint4 part = static_cast<const uint4*>(at)[k];
      words[4 * k] = part.x, words[4 * k + 1] = part.y;
      words[4 * k + 2] = part.z, words[4 * k + 3] = part.w;
#else
      const Words4 part = static_cast<const Words4*>(at)[k];
      FASTLOSS_UNROLL
      for (int i = 0; i < 4; ++i) words[4 * k + i] = part.word[i];
#endif
    }
  } else if constexpr (kBytes == 8) {
    const Words2 part = *static_cast<const Words2*>(at);
    words[0] = part.word[0], words[1] = part.word[1];
  } else {
    words[0] = *static_cast<const typename RawOf<kBytes>::Bits*>(at);
  }
}

template <int kBytes>
FASTLOSS_INLINE void store_whole(const uint32_t* words, void* at) {
  if constexpr (kBytes == 16) {
#ifdef __CUDA_ARCH__
    // The compiler may split a plain store into smaller ones.
    __stwb(static_cast<uint4*>(at), make_uint4(words[0], words[1], words[2], words[3]));
#else
    *static_cast<Words4*>(at) = {{words[0], words[1], words[2], words[3]}};
#endif
  } else {
    static_assert(kBytes == 8, "a vector has 16 bytes, or 8 for half types");
    *static_cast<Words2*>(at) = {{words[0], words[1]}};
  }
}

// Stores 16 bytes in shared memory.
FASTLOSS_INLINE void store_shared(const uint32_t* words, void* at) {
#ifdef __CUDACC__
  *static_cast<uint4*>(at) = make_uint4(words[0], words[1], words[2], words[3]);
#else
  *static_cast<Words4*>(at) = {{words[0], words[1], words[2], words[3]}};
#endif
}

// Loads elements [first, first + kWidth) of an array of which only [begin, end) may be accessed;
// elements outside are 0.
template <int kSize, int kWidth>
FASTLOSS_INLINE void load(const void* data, int64_t first, int64_t begin, int64_t end,
                          uint32_t* words) {
  using Bits = typename RawOf<kSize>::Bits;
  const Bits* const at = static_cast<const Bits*>(data) + first;
  if (first >= begin && first + kWidth <= end && is_aligned<kSize * kWidth>(at))
    return load_whole<kSize * kWidth>(at, words);
  FASTLOSS_UNROLL
  for (int i = 0; i < kWordsOf<kSize, kWidth>; ++i) words[i] = 0;
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i)
    if (first + i >= begin && first + i < end) put<kSize>(words, i, at[i]);
}

// Stores those of the elements [first, first + kWidth) that lie in [begin, end).
template <int kSize, int kWidth>
FASTLOSS_INLINE void store(const uint32_t* words, int64_t first, int64_t begin, int64_t end,
                           void* data) {
  using Bits = typename RawOf<kSize>::Bits;
  Bits* const at = static_cast<Bits*>(data) + first;
  if (first >= begin && first + kWidth <= end && is_aligned<kSize * kWidth>(at))
    return store_whole<kSize * kWidth>(words, at);
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i)
    if (first + i >= begin && first + i < end) at[i] = get<kSize>(words, i);
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
