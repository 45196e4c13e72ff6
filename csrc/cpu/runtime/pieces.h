// What the drivers share: the pieces of a walk, weights that repeat.
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

// The walk is cut into pieces of about so many elements, by the shape alone, so that the bits of a
// result do not depend on the number of threads.
constexpr int64_t kPiece = int64_t(1) << 16;
// A gradient that outgrows the last-level cache is written past it.
constexpr int64_t kStreamBytes = int64_t(16) << 20;

// Asks memory for what is walked soon; kLevel is 1 or 2, the cache that it goes to.
template <int kLevel>
inline void prefetch(const char* from, int64_t bytes) {
  constexpr int64_t kLine = 64;
  for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(from + i, 0, 4 - kLevel);
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

// One number for each run of `repeat` elements, starting again after `count` numbers.
template <class T>
struct Pattern {
  const T* data = nullptr;
  int64_t count = 0, repeat = 1;

  T at(int64_t element) const { return data[element / repeat % count]; }

  template <class Put>
  void visit(int64_t begin, int64_t size, const Put& put) const {
    for (int64_t i = 0; i < size;) {
      const int64_t element = begin + i;
      const int64_t index = element / repeat % count;
      if (repeat == 1) {
        const int64_t run = std::min(size - i, count - index);
        for (int64_t k = 0; k < run; ++k) put(i + k, data[index + k]);
        i += run;
      } else {
        const int64_t run = std::min(size - i, repeat - element % repeat);
        const T value = data[index];
        for (int64_t k = 0; k < run; ++k) put(i + k, value);
        i += run;
      }
    }
  }
};

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
