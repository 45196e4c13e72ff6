// Lanes of one value.
#pragma once

#include <algorithm>

#include "cpu/kernels/lanes.h"

namespace fastloss {

// Sums start at -0, which adds nothing and is quicker to write than +0: that is done by string
// stores.
template <class T>
void fill(Lanes<T>* lanes, T value) {
  std::fill(lanes->lane, lanes->lane + kRowLanes, value);
}

}  // namespace fastloss
