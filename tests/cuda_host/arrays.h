// What the tests of the CUDA sources share: arrays of any dtype and of their exact size, so that
// the address sanitizer sees accesses outside of them, and comparisons.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "api/call.h"
#include "api/fastloss_cuda.h"
#include "cuda_on_host.h"

namespace {

using fastloss::cuda::turns;
using fastloss::cuda::Turns;

int failures = 0, checks = 0;
std::string context;

inline void check(bool holds, const char* what) {
  ++checks;
  if (holds) return;
  if (++failures < 40)
    std::printf("FAILED: %s [%s] %s | %s\n", what, context.c_str(), fastloss_cuda_error(),
                fastloss_error());
}

uint32_t state = 1;
inline double uniform() {
  state = state * 1664525u + 1013904223u;
  return (state >> 8) / 16777216.0;
}

// Numbers of any dtype, `offset` elements after a multiple of 16 bytes.
class Array {
 public:
  Array(int32_t dtype, int64_t count, int offset = 0)
      : dtype_(dtype), size_(fastloss::dtype_size(dtype)), count_(count) {
    const size_t bytes = static_cast<size_t>((count + offset) * size_);
    memory_ = std::aligned_alloc(16, (bytes + 31) / 16 * 16);
    // The sanitizer sees the end of the allocation only, so the array ends there, but for padding.
    data_ = static_cast<char*>(memory_) + offset * size_;
    std::memset(memory_, 0x7b, (bytes + 31) / 16 * 16);
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { std::free(memory_); }

  void* data() { return data_; }
  int64_t bytes() const { return count_ * size_; }
  int64_t count() const { return count_; }
  int32_t dtype() const { return dtype_; }
  bool operator==(const Array& other) const {
    return bytes() == other.bytes() && !std::memcmp(data_, other.data_, size_t(bytes()));
  }
  void copy(const Array& other) { std::memcpy(data_, other.data_, size_t(bytes())); }
  void poison() { std::memset(data_, 0x7b, size_t(bytes())); }

  void put(int64_t i, double x) {
    const float f = static_cast<float>(x);
    uint32_t bits;
    std::memcpy(&bits, &f, 4);
    switch (dtype_) {
      case FASTLOSS_FLOAT64:
        return as<double>(i, x);
      case FASTLOSS_FLOAT32:
        return as<float>(i, f);
      case FASTLOSS_BFLOAT16:
        return as<uint16_t>(i, uint16_t(bits >> 16));
      case FASTLOSS_FLOAT16:
        return as<uint16_t>(i, x == 0 ? uint16_t(0)
                               : std::isfinite(x)
                                   ? uint16_t((((bits & 0x7fffffff) >> 13) - ((127 - 15) << 10)) |
                                              (bits >> 31 << 15))
                               : x != x ? uint16_t(0x7e00)
                                        : uint16_t(0x7c00));
      case FASTLOSS_INT64:
      case FASTLOSS_UINT64:
        return as<int64_t>(i, int64_t(x));
      case FASTLOSS_INT32:
      case FASTLOSS_UINT32:
        return as<int32_t>(i, int32_t(x));
      case FASTLOSS_INT16:
      case FASTLOSS_UINT16:
        return as<int16_t>(i, int16_t(x));
      default:
        return as<int8_t>(i, int8_t(x));
    }
  }

  // 0.25 + k / 64, exact in every float type; labels are 0 or 1.
  void fill(bool labels) {
    for (int64_t i = 0; i < count_; ++i)
      put(i, labels ? uniform() < 0.5 : 0.25 + int(uniform() * 32) / 64.0);
  }

  double at(int64_t i) const {
    if (dtype_ == FASTLOSS_FLOAT64) return reinterpret_cast<const double*>(data_)[i];
    if (dtype_ == FASTLOSS_FLOAT32) return reinterpret_cast<const float*>(data_)[i];
    const uint16_t half = reinterpret_cast<const uint16_t*>(data_)[i];
    const double sign = half >> 15 ? -1 : 1;
    if (dtype_ == FASTLOSS_BFLOAT16) {
      const uint32_t bits = uint32_t(half) << 16;
      float x;
      std::memcpy(&x, &bits, 4);
      return x;
    }
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    return sign *
           (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
  }

 private:
  template <class Element>
  void as(int64_t i, Element x) {
    reinterpret_cast<Element*>(data_)[i] = x;
  }

  int32_t dtype_;
  int64_t size_, count_;
  void* memory_;
  char* data_;
};

// What losses of such predictions are computed in.
inline int32_t wide_of(int32_t dtype) {
  return dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
}

inline double tolerance_of(int32_t dtype) {
  switch (dtype) {
    case FASTLOSS_FLOAT64:
      return 1e-12;
    case FASTLOSS_FLOAT32:
      return 4e-6;
    case FASTLOSS_BFLOAT16:
      return 8e-3;
    default:
      return 1e-3;
  }
}

inline bool close(double x, double y, double tolerance) {
  if (x != x || y != y) return (x != x) == (y != y);
  return x == y || std::fabs(x - y) <= tolerance * (1e-3 + std::fabs(y));
}

inline bool close(const Array& x, const Array& y, double tolerance) {
  for (int64_t i = 0; i < x.count(); ++i)
    if (!close(x.at(i), y.at(i), tolerance)) return false;
  return true;
}

inline int report() {
  std::printf("%d passed, %d failed; %lld kernels\n", checks - failures, failures,
              static_cast<long long>(fastloss::cuda::launches));
  return failures != 0;
}

}  // namespace
