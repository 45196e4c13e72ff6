// Any dtype to the type that a loss computes in, and back; entries of TileOps.
#pragma once

#include <cstdint>

#include "cpu/kernels/tile.h"
#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
void load(int32_t dtype, const void* from, T* to, int64_t count);
template <class T>
void store(int32_t dtype, const T* from, void* to, int64_t count, bool stream, OpenLine* open);
template <class T>
void store_scaled(int32_t dtype, T factor, const T* from, void* to, int64_t count, bool stream,
                  OpenLine* open);

template <class T>
void scale(T factor, const T* from, T* to, int64_t count);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
