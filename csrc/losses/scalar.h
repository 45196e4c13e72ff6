// Elementary functions for the loss functors, for float and double, on host and CUDA device.
//
// Every function is straight-line code whose conditions are selects, so that a plain loop over it
// vectorises at full register width on every instruction set. Nothing here depends on whether the
// compiler fuses a multiply and an add: where the rounding of a product matters, the product is
// exact. NaN goes through every function. Subnormals are right unless the thread flushes them.
//
// Errors are in units in the last place, the worst over the instruction sets; docs/numerics.md has
// the table and tests/library/test_scalar.py enforces it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
struct Format;

template <>
struct Format<float> {
  using Bits = uint32_t;
  static constexpr int kFraction = 23;
  static constexpr Bits kBias = 127;
  static constexpr Bits kExponentMask = 0xff800000u;
  static constexpr Bits kMagnitudeMask = 0x7fffffffu;
  // Keeps 12 of 24 significant bits: the product of two such heads is exact.
  static constexpr Bits kHeadMask = 0xfffff000u;
  static constexpr float kInfinity = __builtin_inff();
  static constexpr float kNan = __builtin_nanf("");
  static constexpr float kMinNormal = 0x1p-126f, kLowest = -0x1.fffffep127f;
  // Adding it rounds to an integer n and leaves n + 2 * kBias in the low bits of the sum.
  static constexpr float kRound = 0x1.8p23f + 254;
  // Below it log1p and expm1 are the identity.
  static constexpr float kTiny = 0x1p-25f;
  // exp is 0 below and infinite above.
  static constexpr float kExpLow = -104.0f, kExpHigh = 89.0f;
  // Its quotient by ln(2) rounds to -kBias.
  static constexpr float kExpFlush = -88.0f;
  // exp2 is 0 or infinite beyond, and exp_scaled right up to it.
  static constexpr float kExp2Bound = 200.0f;
  static constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;
  // 2 / (3 ln 2)
  static constexpr float kLog2Scale = 0.961796694f;
  static constexpr float kLog2ScaleHead = 0x1.ec6p-1f, kLog2ScaleTail = 0.000126772051f;
  // The head has enough trailing zeros for its product with any exponent to be exact.
  static constexpr float kLn2Head = 0x1.62e4p-1f, kLn2Tail = 1.42860682e-6f;
};

template <>
struct Format<double> {
  using Bits = uint64_t;
  static constexpr int kFraction = 52;
  static constexpr Bits kBias = 1023;
  static constexpr Bits kExponentMask = 0xfff0000000000000u;
  static constexpr Bits kMagnitudeMask = 0x7fffffffffffffffu;
  static constexpr Bits kHeadMask = 0xfffffffff8000000u;
  static constexpr double kInfinity = __builtin_inf();
  static constexpr double kNan = __builtin_nan("");
  static constexpr double kMinNormal = 0x1p-1022, kLowest = -0x1.fffffffffffffp1023;
  static constexpr double kRound = 0x1.8p52 + 2046;
  static constexpr double kTiny = 0x1p-54;
  static constexpr double kExpLow = -746.0, kExpHigh = 710.0;
  static constexpr double kExpFlush = -709.0;
  static constexpr double kExp2Bound = 1500.0;
  static constexpr double kLog2e = 1.4426950408889634074, kLn2 = 0.69314718055994530942;
  static constexpr double kLog2Scale = 0.96179669392597560491;
  static constexpr double kLog2ScaleHead = 0x1.ec709d8p-1;
  static constexpr double kLog2ScaleTail = 7.8726995428948977e-9;
  static constexpr double kLn2Head = 0x1.62e42fefa2p-1, kLn2Tail = 7.3710025651677989e-13;
};

template <class T>
FASTLOSS_INLINE typename Format<T>::Bits to_bits(T x) {
  typename Format<T>::Bits bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

template <class T>
FASTLOSS_INLINE T from_bits(typename Format<T>::Bits bits) {
  T x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

template <class T>
FASTLOSS_INLINE bool is_nan(T x) {
  return x != x;
}

FASTLOSS_INLINE float sqrt(float x) { return __builtin_sqrtf(x); }
FASTLOSS_INLINE double sqrt(double x) { return __builtin_sqrt(x); }

// Clears the sign, of NaN too.
template <class T>
FASTLOSS_INLINE T abs(T x) {
  return from_bits<T>(to_bits(x) & Format<T>::kMagnitudeMask);
}

// NaN if either is, unlike C's fmin; of zeros of unequal sign, either.
template <class T>
FASTLOSS_INLINE T min(T a, T b) {
  return ((a < b) | is_nan(a)) ? a : b;
}

// NaN if either is, unlike C's fmax; of zeros of unequal sign, either.
template <class T>
FASTLOSS_INLINE T max(T a, T b) {
  return ((a > b) | is_nan(a)) ? a : b;
}

namespace detail {

// x or zero. With a select the compiler would carry the zero, as a case of its own, through all
// that is computed from it, and pay for that with more selects. SSE2 cannot vectorise a mask of
// doubles.
template <class T>
FASTLOSS_INLINE T zero_unless(bool condition, T x) {
#ifdef __AVX2__
  using Bits = typename Format<T>::Bits;
  return from_bits<T>(to_bits(x) & (Bits{0} - Bits{condition}));
#else
  return condition ? x : T(0);
#endif
}

template <class T>
FASTLOSS_INLINE T head(T x) {
  return from_bits<T>(to_bits(x) & Format<T>::kHeadMask);
}

// A polynomial, constant term first; x2 is x * x. By fours, as a chain of dependent operations is
// what such a loop waits for.
template <class T>
FASTLOSS_INLINE T polynomial(T, T, T c0) {
  return c0;
}
template <class T>
FASTLOSS_INLINE T polynomial(T x, T, T c0, T c1) {
  return c0 + c1 * x;
}
template <class T>
FASTLOSS_INLINE T polynomial(T x, T x2, T c0, T c1, T c2) {
  return (c0 + c1 * x) + c2 * x2;
}
template <class T, class... Rest>
FASTLOSS_INLINE T polynomial(T x, T x2, T c0, T c1, T c2, T c3, Rest... rest) {
  T low = (c0 + c1 * x) + (c2 + c3 * x) * x2;
  if constexpr (sizeof...(rest) == 0) {
    return low;
  } else {
    return low + (x2 * x2) * polynomial(x, x2, rest...);
  }
}

// (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2.
FASTLOSS_INLINE float exp_rest(float r, float r2) {
  return polynomial(r, r2, 0.49999997f, 0.166665435f, 0.0416672006f, 0.00836654659f,
                    0.00138825283f);
}
FASTLOSS_INLINE double exp_rest(double r, double r2) {
  return polynomial(r, r2, 0.50000000000000056, 0.16666666666666588, 0.041666666666576473,
                    0.0083333333333896718, 0.0013888888931664857, 0.00019841269718858925,
                    2.4801505145732008e-05, 2.7557407549093487e-06, 2.7626091581738944e-07,
                    2.5053819051989823e-08);
}

// exp(r) - 1 for |r| <= ln(2) / 2.
template <class T>
FASTLOSS_INLINE T exp_minus_one(T r) {
  T r2 = r * r;
  return r + r2 * exp_rest(r, r2);
}

// x = n ln 2 + r, with n + 2 * kBias in the low bits.
template <class T>
struct ExpArgument {
  T r;
  typename Format<T>::Bits bits;
};

template <class T>
FASTLOSS_INLINE ExpArgument<T> reduce_exp(T x) {
  using F = Format<T>;
  T shifted = x * F::kLog2e + F::kRound;
  T n = shifted - F::kRound;
  return {(x - n * F::kLn2Head) - n * F::kLn2Tail, to_bits(shifted)};
}

// exp(r) 2^n, for the low bits n + 2 * kBias. Two factors, as 2^n itself may be out of range: only
// the second product can be subnormal, so the result is rounded to one once.
template <class T>
FASTLOSS_INLINE T exp_scaled(T r, typename Format<T>::Bits bits) {
  using F = Format<T>;
  auto half = bits >> 1;
  T first = from_bits<T>(half << F::kFraction);
  T second = from_bits<T>((bits - half) << F::kFraction);
  return (first + first * exp_minus_one(r)) * second;
}

// exp of a number that is not above kExpHigh.
template <class T>
FASTLOSS_INLINE T exp_bounded(T x) {
  auto [r, bits] = reduce_exp(x);
  return zero_unless(!(x < Format<T>::kExpLow), exp_scaled(r, bits));
}

// exp(r) for |r| <= ln(2) / 2.
FASTLOSS_INLINE float exp_near_zero(float r) {
  return 1 + r * (0.9999997f +
                  r * (0.49999148f + r * (0.16667639f + r * (0.04189816f + r * 0.0082902638f))));
}
FASTLOSS_INLINE double exp_near_zero(double r) { return 1 + exp_minus_one(r); }

// exp of a number that is not above 0, but 0 under exp(kExpFlush): a share of a row, of which there
// are many, and of which the small ones need not be as exact as the large.
template <class T>
FASTLOSS_INLINE T exp_flushed(T x) {
  using F = Format<T>;
#ifdef __CUDA_ARCH__
  // A GPU has an instruction for it, and nothing else of a softmax costs as much.
  if constexpr (sizeof(T) == sizeof(float)) {
    T result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x * F::kLog2e));
    return result;
  }
#endif
  constexpr T kRound = F::kRound - T(F::kBias);
  // From here down 2^n is 0. NaN stays.
  T bounded = x < F::kExpFlush ? F::kExpFlush : x;
  T shifted = bounded * F::kLog2e + kRound;
  T n = shifted - kRound;
#if defined(__FMA__) || defined(__CUDA_ARCH__)
  constexpr bool kOneStep = sizeof(T) == sizeof(float);
#else
  constexpr bool kOneStep = false;
#endif
  T r = kOneStep ? bounded - n * F::kLn2 : (bounded - n * F::kLn2Head) - n * F::kLn2Tail;
  return exp_near_zero(r) * from_bits<T>(to_bits(shifted) << F::kFraction);
}

// expm1 of a number that is not above kExpHigh, but for the sign of zero and for subnormals.
template <class T>
FASTLOSS_INLINE T expm1_bounded(T x) {
  using F = Format<T>;
  auto [r, bits] = reduce_exp(x);
  // Half of 2^n, which does not overflow where the result does not.
  T half = from_bits<T>((bits - (F::kBias + 1)) << F::kFraction);
  T result = half * exp_minus_one(r) + (half - T(0.5));
  return x < -64 ? T(-1) : result + result;
}

// log(1 + f) - f for 1 + f in [sqrt(1/2), sqrt(2)).
FASTLOSS_INLINE float log_rest(float f) {
  float f2 = f * f;
  return f2 * polynomial(f, f2, -0.5f, 0.333333313f, -0.250008225f, 0.200012341f, -0.166233048f,
                         0.142015651f, -0.131605461f, 0.127631843f, -0.0763553604f);
}
// With s = f / (2 + f) the logarithm is 2 atanh(s), a shorter series that is worth a division.
FASTLOSS_INLINE double log_rest(double f) {
  double s = f / (2.0 + f);
  double z = s * s;
  double rest = z * polynomial(z, z * z, 0.6666666666666734, 0.39999999999417335,
                               0.2857142874202917, 0.22222198591793244, 0.18183564133622193,
                               0.15314038462623966, 0.14796221376030022);
  return s * (rest - f);
}

// The bits of 2^k, less those of 1, for the k that takes x / 2^k into [sqrt(1/2), sqrt(2)).
template <class T>
FASTLOSS_INLINE typename Format<T>::Bits exponent_bits(T x) {
  return (to_bits(x) - to_bits(T(0.70710678118654752440))) & Format<T>::kExponentMask;
}

FASTLOSS_INLINE float exponent(uint32_t bits) {
  return static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-23f;
}
// By way of a mantissa: AVX2 converts no 64-bit integers.
FASTLOSS_INLINE double exponent(uint64_t bits) {
  uint64_t biased = (bits + (uint64_t{1023} << 52)) >> 52;
  return from_bits<double>(biased | to_bits(0x1p52)) - (0x1p52 + 1023);
}

// x = 2^k (1 + f) for x > 0.
template <class T>
struct LogArgument {
  T k;
  T f;
};

template <class T>
FASTLOSS_INLINE LogArgument<T> reduce_log(T x) {
  using F = Format<T>;
  constexpr T kUp = T(typename F::Bits{1} << F::kFraction);
  bool subnormal = x < F::kMinNormal;
  T normal = subnormal ? x * kUp : x;
  auto bits = exponent_bits(normal);
  T k = exponent(bits) - (subnormal ? T(F::kFraction) : T(0));
  return {k, from_bits<T>(to_bits(normal) - bits) - 1};
}

// log(2^k (1 + f)); k_head and k_tail add up to k ln 2.
template <class T>
FASTLOSS_INLINE T log_sum(T k_head, T k_tail, T f) {
  return k_head + (f + (k_tail + log_rest(f)));
}

// The result where u, of which it is the logarithm, is not positive and finite.
template <class T>
FASTLOSS_INLINE T log_special(T u, T result) {
  using F = Format<T>;
  result = u < F::kInfinity ? result : u;
  return u > 0 ? result : u == 0 ? -F::kInfinity : F::kNan;
}

// log1p for x in [0, 1] or NaN, where k is 0 or 1.
template <class T>
FASTLOSS_INLINE T log1p_unit(T x) {
  using F = Format<T>;
  bool halve = x >= T(0.41421356237309504880);
  T f = halve ? x * T(0.5) - T(0.5) : x;
  return log_sum(zero_unless(halve, F::kLn2Head), zero_unless(halve, F::kLn2Tail), f);
}

}  // namespace detail

// Any x. max error 1.2 ULP (float), 1.2 ULP (double)
template <class T>
FASTLOSS_INLINE T exp(T x) {
  return x > Format<T>::kExpHigh ? Format<T>::kInfinity : detail::exp_bounded(x);
}

// Any x. max error 2.0 ULP (float), 2.5 ULP (double)
template <class T>
FASTLOSS_INLINE T expm1(T x) {
  T result = x > Format<T>::kExpHigh ? Format<T>::kInfinity : detail::expm1_bounded(x);
  return abs(x) < Format<T>::kTiny ? x : result;
}

// x >= 0, else NaN. max error 1.1 ULP (float), 1.1 ULP (double)
template <class T>
FASTLOSS_INLINE T log(T x) {
  using F = Format<T>;
  auto [k, f] = detail::reduce_log(x);
  return detail::log_special(x, detail::log_sum(k * F::kLn2Head, k * F::kLn2Tail, f));
}

// Positive, normal and finite, or NaN: log without its special cases. max error as log
template <class T>
FASTLOSS_INLINE T log_normal(T x) {
  using F = Format<T>;
  auto bits = detail::exponent_bits(x);
  T k = detail::exponent(bits);
  T f = from_bits<T>(to_bits(x) - bits) - 1;
  T result = detail::log_sum(k * F::kLn2Head, k * F::kLn2Tail, f);
  return is_nan(x) ? x : result;
}

// x >= -1, else NaN. max error 1.8 ULP (float), 1.8 ULP (double)
template <class T>
FASTLOSS_INLINE T log1p(T x) {
  using F = Format<T>;
  T u = 1 + x;
  auto bits = detail::exponent_bits(u);
  // 4 / 2^k, as 1 / 2^k is subnormal for the largest x.
  T inverse = from_bits<T>(to_bits(T(4)) - bits);
  T f = (x * T(0.25)) * inverse + (T(0.25) * inverse - 1);
  T k = detail::exponent(bits);
  T result = detail::log_special(u, detail::log_sum(k * F::kLn2Head, k * F::kLn2Tail, f));
  return abs(x) < F::kTiny ? x : result;
}

// Any x. max error 2.6 ULP (float), 2.7 ULP (double)
template <class T>
FASTLOSS_INLINE T tanh(T x) {
  T e = detail::expm1_bounded(-2 * abs(x));
  T magnitude = abs(e) / (2 + e);
  return from_bits<T>(to_bits(magnitude) | (to_bits(x) & ~Format<T>::kMagnitudeMask));
}

// exp(-|x|): exp(-x) would overflow where a sigmoid is still a subnormal.
template <class T>
FASTLOSS_INLINE T exp_neg_abs(T x) {
  return detail::exp_bounded(-abs(x));
}

// sigmoid(x), given e = exp_neg_abs(x)
template <class T>
FASTLOSS_INLINE T sigmoid(T x, T e) {
  return (x < 0 ? e : T(1)) / (1 + e);
}

// 1 / (1 + exp(-x)), any x. max error 2.5 ULP (float), 2.4 ULP (double)
template <class T>
FASTLOSS_INLINE T sigmoid(T x) {
  return sigmoid(x, exp_neg_abs(x));
}

// log(1 + exp(x)), any x. max error 2.0 ULP (float), 2.0 ULP (double)
template <class T>
FASTLOSS_INLINE T softplus(T x) {
  T tail = detail::log1p_unit(exp_neg_abs(x));
  return tail + detail::zero_unless(!(x < 0), x);
}

// log(sigmoid(x)), any x. max error 2.0 ULP (float), 2.0 ULP (double)
template <class T>
FASTLOSS_INLINE T log_sigmoid(T x) {
  return -softplus(-x);
}

namespace detail {

// A number as a sum; the head has few enough bits for its product with another to be exact.
template <class T>
struct Extended {
  T head;
  T tail;
};

// (3 atanh(s) / s - 3 - z) / z^2 for z = s^2.
FASTLOSS_INLINE float atanh_rest(float z) {
  return polynomial(z, z * z, 0.600001454f, 0.428280681f, 0.349733621f);
}
FASTLOSS_INLINE double atanh_rest(double z) {
  return polynomial(z, z * z, 0.60000000000000264, 0.42857142856622438, 0.33333333524973446,
                    0.27272698033920922, 0.23079185119411622, 0.19906491109057747,
                    0.19604869414877785);
}

// k + log2(1 + f), as 2 / (3 ln 2) s (3 + s^2 + ...) with s = f / (2 + f): in thirds, for the
// series to begin with terms that are exact.
template <class T>
FASTLOSS_INLINE Extended<T> log2_extended(T k, T f) {
  using F = Format<T>;
  T inverse = 1 / (2 + f);
  T s_head = head(f * inverse);
  T divisor = head(2 + f);
  T divisor_tail = f - (divisor - 2);
  T s_tail = ((f - s_head * divisor) - s_head * divisor_tail) * inverse;
  T s = s_head + s_tail;

  T z = s * s;
  T square = s_head * s_head;
  T square_rest = s_tail * (s_head + s) + z * z * atanh_rest(z);
  T sum = head((3 + square) + square_rest);
  T sum_tail = square_rest - ((sum - 3) - square);

  T product = s_head * sum;
  T product_rest = s_tail * sum + s * sum_tail;
  T product_head = head(product + product_rest);
  T product_tail = product_rest - (product_head - product);

  T scaled = F::kLog2ScaleHead * product_head;
  T scaled_rest = F::kLog2ScaleTail * product_head + F::kLog2Scale * product_tail;
  T log_head = head(k + (scaled + scaled_rest));
  return {log_head, scaled_rest - ((log_head - k) - scaled)};
}

}  // namespace detail

// x^y for x >= 0 (else NaN) and any y, with C's special cases.
// max error 1.4 ULP (float), 1.5 ULP (double)
template <class T>
FASTLOSS_INLINE T pow(T x, T y) {
  using F = Format<T>;
  auto reduced = detail::reduce_log(x);
  // y multiplies the error of the logarithm, which is why that has a tail.
  auto logarithm = detail::log2_extended(reduced.k, reduced.f);
  T y_head = detail::head(y);
  T exponent = y_head * logarithm.head;
  T exponent_tail = (y - y_head) * logarithm.head + y * logarithm.tail;
  T shifted = (exponent + exponent_tail) + F::kRound;
  T r = (exponent - (shifted - F::kRound)) + exponent_tail;
  T result = detail::exp_scaled(r * F::kLn2, to_bits(shifted));

  result = exponent > F::kExp2Bound ? F::kInfinity : result;
  result = exponent < -F::kExp2Bound ? T(0) : result;
  T limit = (x == 0 ? -y : y) > 0 ? F::kInfinity : T(0);
  result = ((x == 0) | (x == F::kInfinity)) ? limit : result;
  result = ((x >= 0) & !is_nan(y)) ? result : F::kNan;
  return ((x == 1) | (y == 0)) ? T(1) : result;
}

namespace detail {

// (atan(t) / t - 1) / z for z = t^2 and |t| <= tan(pi / 8).
FASTLOSS_INLINE float atan_rest(float z) {
  return polynomial(z, z * z, -0.333329484f, 0.1997768f, -0.138773262f, 0.0805250013f);
}
FASTLOSS_INLINE double atan_rest(double z) {
  return polynomial(z, z * z, -0.33333333333330136, 0.19999999999085265, -0.1428571419493839,
                    0.11111106639831448, -0.090907820828296575, 0.076900635524659009,
                    -0.06641079235435413, 0.056923164374155389, -0.04358445134445149,
                    0.021251808525872615);
}

}  // namespace detail

// The angle of the point (x, y) for x >= 0, 0 at the origin; x and y up to half the largest number.
// max error 3.0 ULP (float), 2.8 ULP (double)
template <class T>
FASTLOSS_INLINE T atan2(T y, T x) {
  constexpr T kHalfPi = T(1.57079632679489661923), kQuarterPi = T(0.78539816339744830962);
  constexpr T kEighthTan = T(0.41421356237309504880);
  T height = abs(y);
  bool steep = height > x;
  T large = steep ? height : x;
  T small = steep ? x : height;
  // Far from both axes, the angle is measured from the diagonal.
  bool diagonal = small > kEighthTan * large;
  T divisor = diagonal ? small + large : large;
  T t = (diagonal ? small - large : small) / (divisor == 0 ? T(1) : divisor);
  T z = t * t;
  T angle = t + t * (z * detail::atan_rest(z));
  angle = diagonal ? kQuarterPi + angle : angle;
  angle = steep ? kHalfPi - angle : angle;
  return from_bits<T>(to_bits(angle) | (to_bits(y) & ~Format<T>::kMagnitudeMask));
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
