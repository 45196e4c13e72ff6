// Division by a divisor that is fixed for a whole pass: one multiplication, where a 64-bit division
// takes about a hundred instructions.
#pragma once

#include <cstdint>

#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// With d <= 2^k the multiplier is ceil(2^(63 + k) / d), so that its error, under d / 2^(63 + k),
// times any n < 2^63 does not reach the next quotient (Granlund and Montgomery, 1994).
class Divider {
 public:
  Divider() = default;

  // divisor >= 1
  explicit Divider(int64_t divisor) : divisor_(divisor) {
    if (divisor == 1) return;
    while ((uint64_t{1} << (shift_ + 1)) < static_cast<uint64_t>(divisor)) ++shift_;
    const unsigned __int128 power = static_cast<unsigned __int128>(1) << (64 + shift_);
    multiplier_ = static_cast<uint64_t>((power + divisor - 1) / divisor);
  }

  FASTLOSS_INLINE int64_t divisor() const { return divisor_; }

  // n / divisor, for n >= 0
  FASTLOSS_INLINE int64_t operator()(int64_t n) const {
    if (divisor_ == 1) return n;
    return static_cast<int64_t>(high(static_cast<uint64_t>(n), multiplier_) >> shift_);
  }

 private:
  static FASTLOSS_INLINE uint64_t high(uint64_t x, uint64_t y) {
#ifdef __CUDA_ARCH__
    return __umul64hi(x, y);
#else
    return static_cast<uint64_t>((static_cast<unsigned __int128>(x) * y) >> 64);
#endif
  }

  int64_t divisor_ = 1;
  uint64_t multiplier_ = 0;
  int shift_ = 0;
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
