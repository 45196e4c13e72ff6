// Compiled once per instruction set, under the rules of vector.h.
#include "cpu/kernels/transpose.h"

#include "cpu/kernels/row_lanes.h"
#include "cpu/kernels/vector.h"

namespace fastloss {
namespace FASTLOSS_ISA {

namespace {

// By small squares, which stay in registers.
template <class T>
struct Square {
  static constexpr int64_t kSide = 16 / int64_t(sizeof(T));
  typedef T Vector __attribute__((vector_size(16)));
  typedef T Unaligned __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));
  static FASTLOSS_INLINE void move(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
    const auto load = [&](int64_t i) {
      return Vector(*reinterpret_cast<const Unaligned*>(from + i * from_stride));
    };
    const auto store = [&](int64_t i, Vector x) {
      *reinterpret_cast<Unaligned*>(to + i * to_stride) = x;
    };
    if constexpr (kSide == 4) {
      const Vector a = load(0), b = load(1), c = load(2), d = load(3);
      const Vector ab_low = FASTLOSS_SHUFFLE(a, b, 0, 4, 1, 5);
      const Vector ab_high = FASTLOSS_SHUFFLE(a, b, 2, 6, 3, 7);
      const Vector cd_low = FASTLOSS_SHUFFLE(c, d, 0, 4, 1, 5);
      const Vector cd_high = FASTLOSS_SHUFFLE(c, d, 2, 6, 3, 7);
      store(0, FASTLOSS_SHUFFLE(ab_low, cd_low, 0, 1, 4, 5));
      store(1, FASTLOSS_SHUFFLE(ab_low, cd_low, 2, 3, 6, 7));
      store(2, FASTLOSS_SHUFFLE(ab_high, cd_high, 0, 1, 4, 5));
      store(3, FASTLOSS_SHUFFLE(ab_high, cd_high, 2, 3, 6, 7));
    } else {
      const Vector a = load(0), b = load(1);
      store(0, FASTLOSS_SHUFFLE(a, b, 0, 2));
      store(1, FASTLOSS_SHUFFLE(a, b, 1, 3));
    }
  }
};

// to[c][r] = from[r][c]
template <class T>
FASTLOSS_INLINE void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns,
                               T* to, int64_t to_stride) {
  constexpr int64_t kSide = Square<T>::kSide;
  const int64_t whole_rows = rows / kSide * kSide, whole_columns = columns / kSide * kSide;
  for (int64_t r = 0; r < whole_rows; r += kSide) {
    for (int64_t c = 0; c < whole_columns; c += kSide)
      Square<T>::move(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    for (int64_t c = whole_columns; c < columns; ++c)
      for (int64_t k = r; k < r + kSide; ++k) to[c * to_stride + k] = from[k * from_stride + c];
  }
  for (int64_t r = whole_rows; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
}

}  // namespace

template <class T>
void interleave(const T* rows, int64_t count, int64_t classes, T* lanes) {
  if (count < kWidth)
    for (int64_t i = 0; i < classes * kWidth; ++i) lanes[i] = T(0);
  transpose(rows, classes, count, classes, lanes, kWidth);
}

template <class T>
void deinterleave(const T* lanes, int64_t count, int64_t classes, T* rows) {
  transpose(lanes, kWidth, classes, count, rows, classes);
}

template void interleave(const float*, int64_t, int64_t, float*);
template void interleave(const double*, int64_t, int64_t, double*);
template void deinterleave(const float*, int64_t, int64_t, float*);
template void deinterleave(const double*, int64_t, int64_t, double*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
