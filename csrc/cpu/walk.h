// What the drivers share: the pieces of a walk, dtypes, weights that repeat.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "../fastloss.h"
#include "parallel.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace fastloss {

// The walk is cut into pieces of about so many elements, by the shape alone, so that the bits of a
// result do not depend on the number of threads.
constexpr int64_t kPiece = int64_t(1) << 16;
// A gradient that outgrows the last-level cache is written past it.
constexpr int64_t kStreamBytes = int64_t(16) << 20;
constexpr int kMaxParameters = 8;

inline int64_t ceil_div(int64_t x, int64_t y) { return (x + y - 1) / y; }

// 0 for a dtype that is not a boolean, an integer or a float.
inline int64_t dtype_size(int32_t dtype) {
  switch (dtype) {
    case FASTLOSS_INT8:
    case FASTLOSS_UINT8:
    case FASTLOSS_BOOL:
      return 1;
    case FASTLOSS_INT16:
    case FASTLOSS_UINT16:
    case FASTLOSS_FLOAT16:
    case FASTLOSS_BFLOAT16:
      return 2;
    case FASTLOSS_INT32:
    case FASTLOSS_UINT32:
    case FASTLOSS_FLOAT32:
      return 4;
    case FASTLOSS_INT64:
    case FASTLOSS_UINT64:
    case FASTLOSS_FLOAT64:
      return 8;
  }
  return 0;
}

inline bool is_prediction_dtype(int32_t dtype) {
  return dtype == FASTLOSS_FLOAT16 || dtype == FASTLOSS_BFLOAT16 || dtype == FASTLOSS_FLOAT32 ||
         dtype == FASTLOSS_FLOAT64;
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

// A table of losses, made from the list at the end of their file.
struct LossEntry {
  const char* name;
  const char* parameters;
  int parameter_count() const {
    if (!*parameters) return 0;
    return 1 + int(std::count(parameters, parameters + std::strlen(parameters), ','));
  }
};

template <class Entry, size_t kCount>
const Entry* find_loss(const Entry (&losses)[kCount], const char* name) {
  for (const Entry& loss : losses)
    if (!std::strcmp(loss.name, name)) return &loss;
  return nullptr;
}

// Of the other patterns, or null.
const LossEntry* find_elementwise(const char* name);
const LossEntry* find_rowwise(const char* name);

// "huber(delta) ..."
template <class Entry, size_t kCount>
std::string names_of(const Entry (&losses)[kCount]) {
  std::string text;
  for (const Entry& loss : losses) {
    std::string parameters = loss.parameters;
    parameters.erase(std::remove(parameters.begin(), parameters.end(), ' '), parameters.end());
    text += (text.empty() ? "" : " ") + std::string(loss.name) + "(" + parameters + ")";
  }
  return text;
}

}  // namespace fastloss
