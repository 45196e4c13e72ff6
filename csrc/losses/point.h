// What losses of one number have in common.
#pragma once

#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// `slope` is the derivative of `value` with respect to the prediction.
template <class T>
struct Point {
  T value, slope;
};

template <class T>
FASTLOSS_INLINE T sign(T x) {
  // A NaN error must give a NaN slope, so the third case is x itself.
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

template <class T>
FASTLOSS_INLINE T clip(T x, T low, T high) {
  return x < low ? low : x > high ? high : x;
}

template <class T>
FASTLOSS_INLINE bool outside(T x, T low, T high) {
  return x < low || x > high;
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
