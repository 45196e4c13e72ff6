// Rows into interleaved lanes, and back; entries of RowOps.
#pragma once

#include <cstdint>

#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
void interleave(const T* rows, int64_t count, int64_t classes, T* lanes);
template <class T>
void deinterleave(const T* lanes, int64_t count, int64_t classes, T* rows);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
