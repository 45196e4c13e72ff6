// A number per lane: kernels of rows and of boxes compute as many at a time.
#pragma once

namespace fastloss {

constexpr int kRowLanes = 32;

template <class T>
struct Lanes {
  alignas(64) T lane[kRowLanes];
};

}  // namespace fastloss
