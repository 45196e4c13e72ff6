#include "cpu/kernels/convert.h"

#include "cpu/kernels/store.h"
#include "cpu/kernels/vector.h"
#include "losses/convert.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <class T, class From>
void load_as(const void* from, T* __restrict to, int64_t count) {
  const From* x = static_cast<const From*>(from);
  for (int64_t i = 0; i < count; ++i) to[i] = widen<T>(x[i]);
}

// The upper halves of two vectors of 32 bits, side by side.
typedef uint16_t Halves __attribute__((vector_size(kVectorBytes)));
FASTLOSS_INLINE Halves upper_halves(Halves x, Halves y) {
#if defined(__AVX512F__)
  return FASTLOSS_SHUFFLE(x, y, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35,
                          37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63);
#elif defined(__AVX__)
  return FASTLOSS_SHUFFLE(x, y, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#else
  return FASTLOSS_SHUFFLE(x, y, 1, 3, 5, 7, 9, 11, 13, 15);
#endif
}

// By vectors that are named: the compiler would pack every intermediate, or pass them through
// memory.
void narrow_scaled(float factor, const float* from, bfloat16_bits* to, int64_t count) {
  constexpr int kWidth = kVectorBytes / 4;
  typedef float Floats __attribute__((vector_size(kVectorBytes)));
  typedef uint32_t Bits __attribute__((vector_size(kVectorBytes)));
  const auto rounded = [&](const float* x) {
    Floats value;
    __builtin_memcpy(&value, x, sizeof(value));
    value *= factor;
    const Bits bits = Bits(value), number = Bits(value == value);
    const Bits nearest = bits + 0x7fffu + ((bits >> 16) & 1u);
    return Halves((nearest & number) | ((bits | 0x400000u) & ~number));
  };
  int64_t i = 0;
  for (; i + 2 * kWidth <= count; i += 2 * kWidth) {
    const Halves cut = upper_halves(rounded(from + i), rounded(from + i + kWidth));
    __builtin_memcpy(to + i, &cut, sizeof(cut));
  }
  for (; i < count; ++i)
    to[i] = Narrow<bfloat16_bits>::cut(Narrow<bfloat16_bits>::round(factor * from[i]));
}

template <class T, class To>
void narrow_scaled(T factor, const T* __restrict from, To* __restrict to, int64_t count) {
  alignas(64) uint32_t rounded[kTile];
  for (int64_t i = 0; i < count; ++i) rounded[i] = Narrow<To>::round(float(factor * from[i]));
  for (int64_t i = 0; i < count; ++i) to[i] = Narrow<To>::cut(rounded[i]);
}

template <class T, class To>
void store_as(T factor, const T* from, void* to, int64_t count, bool stream, OpenLine* open) {
  alignas(64) To narrow[kTile];
  for (int64_t start = 0; start < count; start += kTile) {
    const int64_t n = count - start < kTile ? count - start : kTile;
    narrow_scaled(factor, from + start, narrow, n);
    copy(narrow, static_cast<To*>(to) + start, n * int64_t(sizeof(To)), stream, open);
  }
}

#if defined(__SSE2__)
template <class T>
void scale_past_caches(T factor, const T* __restrict x, T* __restrict out, int64_t size,
                       OpenLine* open) {
  typedef T Vector __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
  constexpr int64_t kStep = kVectorBytes / int64_t(sizeof(T)), kOfLine = kLine / int64_t(sizeof(T));
  // What is not a whole line.
  const auto part = [&](int64_t begin, int64_t count) {
    T scaled[kOfLine];
    for (int64_t k = 0; k < count; ++k) scaled[k] = x[begin + k] * factor;
    copy(scaled, out + begin, count * int64_t(sizeof(T)), true, open);
  };
  int64_t i = 0;
  if (into_line(out)) {
    const int64_t left = kOfLine - into_line(out) / int64_t(sizeof(T));
    i = left < size ? left : size;
    part(0, i);
  }
  for (; i + kOfLine <= size; i += kOfLine)
    for (int64_t k = 0; k < kOfLine; k += kStep)
      stream_vector(*reinterpret_cast<const Vector*>(x + i + k) * factor, out + i + k);
  if (i < size) part(i, size - i);
}
#endif

}  // namespace

template <class T>
void load(int32_t dtype, const void* from, T* to, int64_t count) {
  switch (dtype) {
    case FASTLOSS_FLOAT32:
      return load_as<T, float>(from, to, count);
    case FASTLOSS_FLOAT64:
      return load_as<T, double>(from, to, count);
    case FASTLOSS_INT32:
      return load_as<T, int32_t>(from, to, count);
    case FASTLOSS_UINT8:
      return load_as<T, uint8_t>(from, to, count);
    case FASTLOSS_INT16:
      return load_as<T, int16_t>(from, to, count);
    case FASTLOSS_INT8:
      return load_as<T, int8_t>(from, to, count);
    case FASTLOSS_INT64:
      return load_as<T, int64_t>(from, to, count);
    case FASTLOSS_BOOL:
      return load_as<T, uint8_t>(from, to, count);
    case FASTLOSS_BFLOAT16:
      return load_as<T, bfloat16_bits>(from, to, count);
    case FASTLOSS_UINT16:
      return load_as<T, uint16_t>(from, to, count);
    case FASTLOSS_FLOAT16:
      return load_as<T, half_bits>(from, to, count);
    case FASTLOSS_UINT32:
      return load_as<T, uint32_t>(from, to, count);
    case FASTLOSS_UINT64:
      return load_as<T, uint64_t>(from, to, count);
  }
}

template <class T>
void store(int32_t dtype, const T* from, void* to, int64_t count, bool stream, OpenLine* open) {
  if (dtype == FASTLOSS_FLOAT16) return store_as<T, half_bits>(T(1), from, to, count, stream, open);
  if (dtype == FASTLOSS_BFLOAT16)
    return store_as<T, bfloat16_bits>(T(1), from, to, count, stream, open);
  copy(from, to, count * int64_t(sizeof(T)), stream, open);
}

template <class T>
void scale(T factor, const T* __restrict from, T* __restrict to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i] * factor;
}

template <class T>
void store_scaled(int32_t dtype, T factor, const T* from, void* to, int64_t count, bool stream,
                  OpenLine* open) {
  if (dtype == FASTLOSS_FLOAT16)
    return store_as<T, half_bits>(factor, from, to, count, stream, open);
  if (dtype == FASTLOSS_BFLOAT16)
    return store_as<T, bfloat16_bits>(factor, from, to, count, stream, open);
#if defined(__SSE2__)
  if (stream) return scale_past_caches(factor, from, static_cast<T*>(to), count, open);
#endif
  scale(factor, from, static_cast<T*>(to), count);
}

template void load(int32_t, const void*, float*, int64_t);
template void store(int32_t, const float*, void*, int64_t, bool, OpenLine*);
template void store_scaled(int32_t, float, const float*, void*, int64_t, bool, OpenLine*);
template void scale(float, const float*, float*, int64_t);
template void load(int32_t, const void*, double*, int64_t);
template void store(int32_t, const double*, void*, int64_t, bool, OpenLine*);
template void store_scaled(int32_t, double, const double*, void*, int64_t, bool, OpenLine*);
template void scale(double, const double*, double*, int64_t);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
