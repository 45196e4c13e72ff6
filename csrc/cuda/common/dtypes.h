// Conversion between raw vectors and numbers. The dtype is a run-time branch, which is uniform over
// a whole pass: a kernel for every pair of dtypes would take hours to compile.
#pragma once

#include "api/fastloss.h"
#include "cuda/common/vector.h"
#include "losses/convert.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// kVectors vectors of kWidth elements of any size, unconverted.
template <int kVectors, int kWidth>
struct RawVectors {
  static constexpr int kWords = kWordsOf<8, kWidth>;
  uint32_t words[kVectors][kWords];

  template <int kSize>
  FASTLOSS_INLINE void load_of_size(const void* data, const int64_t (&first)[kVectors],
                                    int64_t begin, int64_t end) {
    FASTLOSS_UNROLL
    for (int v = 0; v < kVectors; ++v) load<kSize, kWidth>(data, first[v], begin, end, words[v]);
  }

  FASTLOSS_INLINE void load_any(int32_t size, const void* data, const int64_t (&first)[kVectors],
                                int64_t begin, int64_t end) {
    if (size == 4)
      load_of_size<4>(data, first, begin, end);
    else if (size == 2)
      load_of_size<2>(data, first, begin, end);
    else if (size == 1)
      load_of_size<1>(data, first, begin, end);
    else
      load_of_size<8>(data, first, begin, end);
  }

  template <class From, class T>
  FASTLOSS_INLINE void widen_as(T* to) const {
    FASTLOSS_UNROLL
    for (int v = 0; v < kVectors; ++v) FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      to[v * kWidth + i] = widen<T>(bit_cast<From>(get<sizeof(From)>(words[v], i)));
  }

  // For labels, whose dtype can be any.
  template <class T>
  FASTLOSS_INLINE void widen_any(int32_t dtype, T* to) const {
    switch (dtype) {
      case FASTLOSS_FLOAT32:
        return widen_as<float>(to);
      case FASTLOSS_FLOAT64:
        return widen_as<double>(to);
      case FASTLOSS_BFLOAT16:
        return widen_as<bfloat16_bits>(to);
      case FASTLOSS_FLOAT16:
        return widen_as<half_bits>(to);
      case FASTLOSS_INT8:
        return widen_as<int8_t>(to);
      case FASTLOSS_INT16:
        return widen_as<int16_t>(to);
      case FASTLOSS_INT32:
        return widen_as<int32_t>(to);
      case FASTLOSS_INT64:
        return widen_as<int64_t>(to);
      case FASTLOSS_UINT16:
        return widen_as<uint16_t>(to);
      case FASTLOSS_UINT32:
        return widen_as<uint32_t>(to);
      case FASTLOSS_UINT64:
        return widen_as<uint64_t>(to);
      default:  // uint8 and bool
        return widen_as<uint8_t>(to);
    }
  }
};

// Predictions and gradients of kSize bytes: float64, float32, or whichever half type `dtype` says.
template <int kSize>
struct Predictions;

template <>
struct Predictions<8> {
  using T = double;
  template <class Raw>
  static FASTLOSS_INLINE void widen(const Raw& raw, int32_t, double* to) {
    raw.template widen_as<double>(to);
  }
  static FASTLOSS_INLINE uint64_t narrow(double x, int32_t) { return bit_cast<uint64_t>(x); }
};

template <>
struct Predictions<4> {
  using T = float;
  template <class Raw>
  static FASTLOSS_INLINE void widen(const Raw& raw, int32_t, float* to) {
    raw.template widen_as<float>(to);
  }
  static FASTLOSS_INLINE uint32_t narrow(float x, int32_t) { return bit_cast<uint32_t>(x); }
};

template <>
struct Predictions<2> {
  using T = float;
  template <class Raw>
  static FASTLOSS_INLINE void widen(const Raw& raw, int32_t dtype, float* to) {
    if (dtype == FASTLOSS_BFLOAT16)
      raw.template widen_as<bfloat16_bits>(to);
    else
      raw.template widen_as<half_bits>(to);
  }
  static FASTLOSS_INLINE uint16_t narrow(float x, int32_t dtype) {
    return dtype == FASTLOSS_BFLOAT16
               ? Narrow<bfloat16_bits>::cut(Narrow<bfloat16_bits>::round(x)).bits
               : Narrow<half_bits>::cut(Narrow<half_bits>::round(x)).bits;
  }
};

// Stores numbers in the dtype of the predictions, as far as they lie in [begin, end).
template <int kSize, int kWidth, class T>
FASTLOSS_INLINE void store_numbers(const T* numbers, int32_t dtype, int64_t first, int64_t begin,
                                   int64_t end, void* data) {
  uint32_t words[kWordsOf<kSize, kWidth>] = {};
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i)
    put<kSize>(words, i, Predictions<kSize>::narrow(numbers[i], dtype));
  store<kSize, kWidth>(words, first, begin, end, data);
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
