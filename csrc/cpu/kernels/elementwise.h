// The loops of an elementwise loss; an entry of TileOps.
#pragma once

#include "cpu/kernels/tile.h"
#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
TileLoops<T> find_elementwise(const char* loss, const double* parameters);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
