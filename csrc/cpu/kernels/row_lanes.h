// What the loops over rows have in common.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"
#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

constexpr int64_t kWidth = kRowLanes;
// Sums of so many numbers are added to those before: a long row is not one long chain of additions.
constexpr int64_t kSteps = 64 * kWidth;

// The start of a sum. Of +0 the compiler would make a call or a slow string store, and -0 adds
// nothing.
template <class T>
FASTLOSS_INLINE void clear(Lanes<T>* lanes) {
  for (int64_t k = 0; k < kWidth; ++k) lanes->lane[k] = T(-0.0);
}

// The number of lane k: its own where rows are interleaved, else that of the one row.
template <bool kInterleaved, class T>
FASTLOSS_INLINE T at(const Lanes<T>& lanes, int64_t k) {
  return lanes.lane[kInterleaved ? k : 0];
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
