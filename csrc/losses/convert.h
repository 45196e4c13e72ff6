// Any dtype to the type that a loss computes in, and back. On a CPU half types are converted by
// hand: the compiler's own _Float16 needs symbols of the newest libgcc. A GPU has instructions for
// them.
#pragma once

#include <cstdint>

#include "api/fastloss.h"
#include "losses/target.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace fastloss {
namespace FASTLOSS_ISA {

struct half_bits {
  uint16_t bits;
};
struct bfloat16_bits {
  uint16_t bits;
};

template <class To, class From>
FASTLOSS_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

template <class T, class From>
FASTLOSS_INLINE T widen(From x) {
  return T(x);
}
template <class T>
FASTLOSS_INLINE T widen(bfloat16_bits x) {
  return T(bit_cast<float>(uint32_t(x.bits) << 16));
}
template <class T>
FASTLOSS_INLINE T widen(half_bits x) {
#ifdef __CUDA_ARCH__
  return T(__half2float(__ushort_as_half(x.bits)));
#else
  const uint32_t magnitude = x.bits & 0x7fffu;
  const uint32_t sign = uint32_t(x.bits & 0x8000u) << 16;
  // Multiplying by 2^112 moves the exponent and normalises subnormals in one exact step.
  const float finite = bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t special = 0x7f800000u | (magnitude << 13);
  const uint32_t bits = magnitude >= 0x7c00u ? special : bit_cast<uint32_t>(finite);
  return T(bit_cast<float>(bits | sign));
#endif
}

// The rounded number, to nearest even, in the upper half (bfloat16) or the lower (float16) of 32
// bits. Cutting it to 16 is a loop of its own: in one, the compiler packs every intermediate.
template <class To>
struct Narrow;

template <>
struct Narrow<bfloat16_bits> {
  static FASTLOSS_INLINE uint32_t round(float x) {
#ifdef __CUDA_ARCH__
    return uint32_t(__bfloat16_as_ushort(__float2bfloat16_rn(x))) << 16;
#else
    const uint32_t bits = bit_cast<uint32_t>(x);
    const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    return x == x ? rounded : bits | 0x400000u;
#endif
  }
  static FASTLOSS_INLINE bfloat16_bits cut(uint32_t rounded) { return {uint16_t(rounded >> 16)}; }
};

template <>
struct Narrow<half_bits> {
  static FASTLOSS_INLINE uint32_t round(float x) {
#ifdef __CUDA_ARCH__
    return __half_as_ushort(__float2half_rn(x));
#else
    const uint32_t bits = bit_cast<uint32_t>(x);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    // Adding a float whose last bit weighs 2^-24 rounds to half's subnormal grid, ties to even.
    const uint32_t subnormal =
        bit_cast<uint32_t>(bit_cast<float>(magnitude) + 0.5f) - bit_cast<uint32_t>(0.5f);
    const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    uint32_t result = magnitude < 0x38800000u ? subnormal : normal;
    result = magnitude >= 0x477ff000u ? 0x7c00u : result;
    result = magnitude > 0x7f800000u ? 0x7e00u : result;
    return result | sign;
#endif
  }
  static FASTLOSS_INLINE half_bits cut(uint32_t rounded) { return {uint16_t(rounded)}; }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
