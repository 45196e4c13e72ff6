// The guess whether all labels are 0 or 1, for losses that depend on it.
#pragma once

#include "cuda/elementwise/pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Fills in the guess of a pass from its first labels.
template <class T>
int launch_guess(const ElementwisePass<T>& pass, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
