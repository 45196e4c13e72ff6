// What the drivers share: the pieces of a pass over memory.
#pragma once

#include <algorithm>
#include <cstdint>

#include "api/call.h"
#include "api/fastloss.h"
#include "cpu/runtime/parallel.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace fastloss {

// A pass is cut into pieces of about so many elements, by the shape alone, so that the bits of a
// result do not depend on the number of threads.
constexpr int64_t kPiece = int64_t(1) << 16;
// A gradient that outgrows the last-level cache is written past it.
constexpr int64_t kStreamBytes = int64_t(16) << 20;

// Asks memory for `bytes` from `offset` on, which are soon needed; kLevel is 1 or 2, the cache that
// they go to. They may lie past the array's end, where an address is a number but no pointer.
template <int kLevel>
inline void prefetch(const void* array, int64_t offset, int64_t bytes) {
  constexpr uintptr_t kLine = 64;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(array) + uintptr_t(offset);
  for (uintptr_t i = 0; i < uintptr_t(bytes); i += kLine)
    __builtin_prefetch(reinterpret_cast<const void*>(begin + i), 0, 4 - kLevel);
}

template <class T>
constexpr int32_t dtype_of();
template <>
constexpr int32_t dtype_of<float>() {
  return FASTLOSS_FLOAT32;
}
template <>
constexpr int32_t dtype_of<double>() {
  return FASTLOSS_FLOAT64;
}

// `stream` says whether pieces write past the caches.
template <class Piece>
void parallel_pieces(fastloss_parallel_for parallel_for, void* context, int64_t pieces, bool stream,
                     const Piece& piece) {
  if (!pieces) return;
  parallel(parallel_for, context, pieces, [&](int64_t index) {
    piece(index);
#if defined(__SSE2__)
    if (stream) _mm_sfence();
#else
    (void)stream;
#endif
  });
}

}  // namespace fastloss
