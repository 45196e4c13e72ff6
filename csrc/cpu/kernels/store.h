// Stores past the caches. A streaming store saves reading the line that it overwrites, if it is of
// a whole line: a part of one has memory read and written, and waits for it.
#pragma once

#include <cstdint>

#include "cpu/kernels/tile.h"
#include "cpu/kernels/vector.h"

namespace fastloss {
namespace FASTLOSS_ISA {

constexpr int64_t kLine = 64;

// How many bytes of the cache line of `to` lie before it.
inline int64_t into_line(const void* to) { return reinterpret_cast<intptr_t>(to) & (kLine - 1); }

inline void close(OpenLine* open) {
  const int64_t held = into_line(open->next);
  if (held > open->begin)
    __builtin_memcpy(open->next - held + open->begin, open->bytes + open->begin,
                     held - open->begin);
  open->next = nullptr;
}

#if defined(__SSE2__)
inline void stream_line(const char* x, char* y) {
  typedef char Vector __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));
  for (int64_t k = 0; k < kLine; k += kVectorBytes)
    stream_vector(*reinterpret_cast<const Vector*>(x + k), y + k);
}

// The beginning of what is to be stored at y, up to the end of a line; returns its bytes.
inline int64_t fill_line(const char* x, char* y, int64_t bytes, OpenLine* open) {
  const int64_t held = into_line(y);
  const int64_t n = held + bytes < kLine ? bytes : kLine - held;
  if (!open) {
    __builtin_memcpy(y, x, n);
    return n;
  }
  if (open->next != y) {
    close(open);
    open->begin = held;
  }
  __builtin_memcpy(open->bytes + held, x, n);
  open->next = y + n;
  if (held + n < kLine) return n;
  if (open->begin)
    __builtin_memcpy(y - held + open->begin, open->bytes + open->begin, kLine - open->begin);
  else
    stream_line(open->bytes, y - held);
  open->next = nullptr;
  return n;
}
#endif

inline void copy(const void* from, void* to, int64_t bytes, bool stream, OpenLine* open) {
  const char* x = static_cast<const char*>(from);
  char* y = static_cast<char*>(to);
  int64_t i = 0;
#if defined(__SSE2__)
  if (stream) {
    if (into_line(y)) i = fill_line(x, y, bytes, open);
    for (; i + kLine <= bytes; i += kLine) stream_line(x + i, y + i);
    if (i < bytes) fill_line(x + i, y + i, bytes - i, open);
    return;
  }
#else
  (void)stream;
  (void)open;
#endif
  __builtin_memcpy(y, x, bytes);
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
