// Sums in an order that is the same for every width of a vector: 32 running sums, added pairwise.
#pragma once

#include "cpu/kernels/vector.h"

namespace fastloss {
namespace FASTLOSS_ISA {

constexpr int kSums = 32;

// Vectors by name: an array of 32 numbers would stay in memory, at more than the additions cost.
template <class T>
class RunningSums {
 public:
  FASTLOSS_INLINE void add(const T* x) {
    for (int k = 0; k < kVectors; ++k) sums_[k] += *reinterpret_cast<const Vector*>(x + k * kWidth);
  }

  T total() const {
    Vector sums[kVectors];
    __builtin_memcpy(sums, sums_, sizeof(sums));
    for (int half = kVectors / 2; half > 0; half /= 2)
      for (int k = 0; k < half; ++k) sums[k] += sums[k + half];
    T lanes[kWidth];
    __builtin_memcpy(lanes, sums, sizeof(lanes));
    for (int width = kWidth / 2; width > 0; width /= 2)
      for (int k = 0; k < width; ++k) lanes[k] += lanes[k + width];
    return lanes[0];
  }

 private:
  static constexpr int kWidth = kVectorBytes / int(sizeof(T)), kVectors = kSums / kWidth;
  typedef T Vector __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
  Vector sums_[kVectors] = {};
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
