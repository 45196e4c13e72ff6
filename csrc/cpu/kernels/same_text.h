// std::strcmp may be an inline function, which is compiled per instruction set by nobody but us.
#pragma once

#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

inline bool same_text(const char* x, const char* y) {
  while (*x && *x == *y) ++x, ++y;
  return *x == *y;
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
