// Compiled once per instruction set. It includes nothing that defines inline functions outside our
// per-ISA namespace: the linker would keep one copy for all, perhaps one this CPU cannot run.
#include "cpu/kernels/tile.h"

#include <type_traits>

#include "cpu/kernels/running_sums.h"
#include "losses/convert.h"
#include "losses/elementwise.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

bool same(const char* x, const char* y) {
  while (*x && *x == *y) ++x, ++y;
  return *x == *y;
}

template <class Loss, class T, class = void>
struct Split {
  static constexpr int64_t kBlock = kTile;
  static const T* prepare(const Loss&, const T*, const T*, const T*, T* prepared, int64_t) {
    return prepared;
  }
  static FASTLOSS_INLINE Point<T> at(const Loss& loss, T label, T prediction, T column, T) {
    return loss(label, prediction, column);
  }
};
template <class Loss, class T>
struct Split<Loss, T, decltype(void(&Loss::prepare))> {
  static constexpr int64_t kBlock = 256;
  static const T* prepare(const Loss& loss, const T* __restrict label,
                          const T* __restrict prediction, const T* decay, T* __restrict prepared,
                          int64_t count) {
    if (std::is_base_of_v<OfLogits<T>, Loss> && decay) return decay;
    for (int64_t i = 0; i < (count & -kLanes); ++i)
      prepared[i] = loss.prepare(label[i], prediction[i]);
    return prepared;
  }
  static FASTLOSS_INLINE Point<T> at(const Loss& loss, T label, T prediction, T column,
                                     T prepared) {
    return loss(label, prediction, column, prepared);
  }
};

// One loop per combination of outputs: what is not asked for is not computed.
template <class Loss, class T>
void walk_block(const Loss& loss, const T* __restrict label, const T* __restrict prediction,
                const T* __restrict column, const T* __restrict prepared, T scale,
                T* __restrict value, T* __restrict gradient, bool adds, int64_t count) {
  using S = Split<Loss, T>;
#define FASTLOSS_LOOP(COLUMN, VALUE, GRADIENT)                                        \
  for (int64_t i = 0; i < (count & -kLanes); ++i) {                                   \
    const Point<T> point = S::at(loss, label[i], prediction[i], COLUMN, prepared[i]); \
    VALUE;                                                                            \
    GRADIENT;                                                                         \
  }
#define FASTLOSS_LOOPS(COLUMN, INTO)                                                    \
  if (value && gradient) {                                                              \
    FASTLOSS_LOOP(COLUMN, value[i] = point.value, gradient[i] INTO point.slope * scale) \
  } else if (value) {                                                                   \
    FASTLOSS_LOOP(COLUMN, value[i] = point.value, )                                     \
  } else {                                                                              \
    FASTLOSS_LOOP(COLUMN, , gradient[i] INTO point.slope * scale)                       \
  }
  if (column) {
    FASTLOSS_LOOPS(column[i], =)
  } else if (adds && gradient) {
    FASTLOSS_LOOPS(T(1), +=)
  } else {
    FASTLOSS_LOOPS(T(1), =)
  }
#undef FASTLOSS_LOOPS
#undef FASTLOSS_LOOP
}

// The values stay in registers.
template <class Loss, class T>
void sum_block(const Loss& loss, const T* __restrict label, const T* __restrict prediction,
               const T* __restrict prepared, T scale, T* __restrict gradient, bool adds,
               int64_t count, RunningSums<T>* total) {
  RunningSums<T> sums = *total;
#define FASTLOSS_LOOP(GRADIENT)                                                                    \
  for (int64_t start = 0; start < count; start += kSums) {                                         \
    T values[kSums];                                                                               \
    for (int64_t i = start; i < start + kSums; ++i) {                                              \
      const Point<T> point = Split<Loss, T>::at(loss, label[i], prediction[i], T(1), prepared[i]); \
      values[i - start] = point.value;                                                             \
      GRADIENT;                                                                                    \
    }                                                                                              \
    sums.add(values);                                                                              \
  }
  if (!gradient) {
    FASTLOSS_LOOP()
  } else if (adds) {
    FASTLOSS_LOOP(gradient[i] += point.slope * scale)
  } else {
    FASTLOSS_LOOP(gradient[i] = point.slope * scale)
  }
#undef FASTLOSS_LOOP
  *total = sums;
}

template <class Loss, class T>
void walk(const double* parameters, const T* label, const T* prediction, const T* decay,
          const T* column, T scale, T* value, T* total, T* gradient, bool adds, int64_t count) {
  const Loss loss(parameters);
  RunningSums<T> sums;
  constexpr int64_t kBlock = Split<Loss, T>::kBlock;
  alignas(64) T own[kBlock];
  for (int64_t i = 0; i < count; i += kBlock) {
    const int64_t n = count - i < kBlock ? count - i : kBlock;
    const T* const prepared = Split<Loss, T>::prepare(loss, label + i, prediction + i,
                                                      decay ? decay + i : nullptr, own, n);
    T* const slope = gradient ? gradient + i : nullptr;
    if (total)
      sum_block<Loss, T>(loss, label + i, prediction + i, prepared, scale, slope, adds, n, &sums);
    else
      walk_block<Loss, T>(loss, label + i, prediction + i, column ? column + i : nullptr, prepared,
                          scale, value ? value + i : nullptr, slope, adds, n);
  }
  if (total) *total = sums.joined();
}

// The cheaper form of a loss that has one, for gamma 2 or for hard labels.
template <class Loss, class T>
auto for_gamma(const double* parameters, int) -> decltype(&walk<typename Loss::GammaTwo, T>) {
  return parameters[1] == 2 ? &walk<typename Loss::GammaTwo, T> : &walk<Loss, T>;
}
template <class Loss, class T>
TileLoop<T> for_gamma(const double*, long) {
  return &walk<Loss, T>;
}
template <class Loss, class T>
auto for_hard_labels(const double* parameters, int)
    -> decltype(&walk<typename Loss::HardLabels, T>) {
  const bool smoothed = parameters[0] != 0;
  return smoothed ? nullptr : for_gamma<typename Loss::HardLabels, T>(parameters, 0);
}
template <class Loss, class T>
TileLoop<T> for_hard_labels(const double*, long) {
  return nullptr;
}

template <class T>
TileLoops<T> find(const char* loss, const double* parameters) {
#define FASTLOSS_FIND(NAME, ...) \
  if (same(loss, #NAME))         \
    return {for_gamma<NAME<T>, T>(parameters, 0), for_hard_labels<NAME<T>, T>(parameters, 0)};
  FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_FIND)
#undef FASTLOSS_FIND
  return {nullptr, nullptr};
}

template <class T, class From>
void load_as(const void* from, T* __restrict to, int64_t count) {
  const From* x = static_cast<const From*>(from);
  for (int64_t i = 0; i < count; ++i) to[i] = widen<T>(x[i]);
}

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

constexpr int64_t kLine = 64;

// How many bytes of the cache line of `to` lie before it.
int64_t into_line(const void* to) { return reinterpret_cast<intptr_t>(to) & (kLine - 1); }

void close(OpenLine* open) {
  const int64_t held = into_line(open->next);
  if (held > open->begin)
    __builtin_memcpy(open->next - held + open->begin, open->bytes + open->begin,
                     held - open->begin);
  open->next = nullptr;
}

#if defined(__SSE2__)
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

void stream_line(const char* x, char* y) {
  typedef char Vector __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));
  for (int64_t k = 0; k < kLine; k += kVectorBytes)
    stream_vector(*reinterpret_cast<const Vector*>(x + k), y + k);
}

// The beginning of what is to be stored at y, up to the end of a line; returns its bytes.
int64_t fill_line(const char* x, char* y, int64_t bytes, OpenLine* open) {
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

// Past the caches a streaming store saves reading the line that it overwrites, if it is of a whole
// line: a part of one has memory read and written, and waits for it.
void copy(const void* from, void* to, int64_t bytes, bool stream, OpenLine* open) {
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

// The upper halves of two vectors of 32 bits, side by side.
typedef uint16_t Halves __attribute__((vector_size(kVectorBytes)));
FASTLOSS_INLINE Halves upper_halves(Halves x, Halves y) {
#if defined(__AVX512F__)
  const Halves odd = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                      33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
#elif defined(__AVX__)
  const Halves odd = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
#else
  const Halves odd = {1, 3, 5, 7, 9, 11, 13, 15};
#endif
  return __builtin_shuffle(x, y, odd);
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

template <class T>
void store(int32_t dtype, const T* from, void* to, int64_t count, bool stream, OpenLine* open) {
  if (dtype == FASTLOSS_FLOAT16) return store_as<T, half_bits>(T(1), from, to, count, stream, open);
  if (dtype == FASTLOSS_BFLOAT16)
    return store_as<T, bfloat16_bits>(T(1), from, to, count, stream, open);
  copy(from, to, count * int64_t(sizeof(T)), stream, open);
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

template <class T>
void multiply(const T* __restrict factor, T* __restrict in_out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) in_out[i] *= factor[i];
}

template <class T>
T sum(const T* x, int64_t count) {
  T total = 0;
  int64_t i = 0;
  if (count >= kSums) {
    RunningSums<T> sums;
    for (; i + kSums <= count; i += kSums) sums.add(x + i);
    total = sums.joined();
  }
  for (; i < count; ++i) total += x[i];
  return total;
}

template <class T>
void row_sums(const T* x, int64_t rows, int64_t columns, T factor, T* out) {
  if (columns == 1) return scale(factor, x, out, rows);
  for (int64_t row = 0; row < rows; ++row) out[row] = factor * sum(x + row * columns, columns);
}

template <class T>
bool binary(const T* x, int64_t count) {
  int others = 0;
  for (int64_t i = 0; i < count; ++i) others |= !(x[i] == T(0) || x[i] == T(1));
  return !others;
}

template <class T>
constexpr TileOps<T> kOps = {find<T>,     load<T>,  store<T>, store_scaled<T>, copy,     close,
                             multiply<T>, scale<T>, sum<T>,   row_sums<T>,     binary<T>};

}  // namespace

bool scalar_probe(const char* function, bool is_double, const void* x, const void* y, void* out,
                  long long count);

extern const RowOps<float> kRowOpsFloat;
extern const RowOps<double> kRowOpsDouble;
extern const OverlapOps<float> kOverlapOpsFloat;
extern const OverlapOps<double> kOverlapOpsDouble;
extern const BoxOps<float> kBoxOpsFloat;
extern const BoxOps<double> kBoxOpsDouble;
extern const Isa kIsa;
#define FASTLOSS_TEXT_(x) #x
#define FASTLOSS_TEXT(x) FASTLOSS_TEXT_(x)
const Isa kIsa = {
    FASTLOSS_TEXT(FASTLOSS_ISA), kOps<float>,        kOps<double>,  &kRowOpsFloat,  &kRowOpsDouble,
    &kOverlapOpsFloat,           &kOverlapOpsDouble, &kBoxOpsFloat, &kBoxOpsDouble, scalar_probe};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
