// Vectors by name: GCC and Clang compile operators of them to single instructions.
//
// What is compiled once per instruction set includes nothing that defines inline functions outside
// of our namespace for it: the linker would keep one copy for all, perhaps one that this CPU cannot
// run.
#pragma once

#include "losses/target.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace fastloss {
namespace FASTLOSS_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

#if defined(__SSE2__)
// Past the caches; `to` is aligned.
template <class Vector>
void stream_vector(Vector x, void* to) {
#if defined(__AVX512F__)
  _mm512_stream_si512(static_cast<__m512i*>(to), reinterpret_cast<__m512i>(x));
#elif defined(__AVX__)
  _mm256_stream_si256(static_cast<__m256i*>(to), reinterpret_cast<__m256i>(x));
#else
  _mm_stream_si128(static_cast<__m128i*>(to), reinterpret_cast<__m128i>(x));
#endif
}
#endif

}  // namespace FASTLOSS_ISA
}  // namespace fastloss

// Elements of the vectors x and y, numbered through both. GCC has Clang's function from 12 on only.
#if defined(__clang__)
#define FASTLOSS_SHUFFLE(X, Y, ...) __builtin_shufflevector(X, Y, __VA_ARGS__)
#else
#define FASTLOSS_SHUFFLE(X, Y, ...) __builtin_shuffle(X, Y, decltype((X) == (Y)){__VA_ARGS__})
#endif
