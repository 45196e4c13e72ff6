// Compiled once per instruction set, under the rules of tile.cpp.
#include "cpu/kernels/box_tile.h"

#include "losses/boxes.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int64_t kWidth = kRowLanes;
// In every format, what belongs to one axis is two coordinates apart.
constexpr int64_t kApart = 2 * kWidth;

bool same(const char* x, const char* y) {
  while (*x && *x == *y) ++x, ++y;
  return *x == *y;
}

template <bool kCentred, class T>
FASTLOSS_INLINE Axis<T> axis_of(const T* prediction, const T* label) {
  if constexpr (kCentred)
    return Axis<T>::of_centres(prediction[0], prediction[kApart], label[0], label[kApart]);
  else
    return Axis<T>::of_corners({prediction[0], prediction[kApart]}, {label[0], label[kApart]});
}

template <bool kCentred, class T>
FASTLOSS_INLINE void put(Ends<T> slope, T scale, T* gradient) {
  gradient[0] = scale * (kCentred ? slope.low + slope.high : slope.low);
  gradient[kApart] = scale * (kCentred ? T(0.5) * (slope.high - slope.low) : slope.high);
}

template <class Loss, bool kCentred, class T>
FASTLOSS_INLINE BoxPoint<T> at(const Loss& loss, const T* label, const T* prediction) {
  return loss(axis_of<kCentred>(prediction, label),
              axis_of<kCentred>(prediction + kWidth, label + kWidth));
}

template <class Loss, bool kCentred, class T>
void walk(const double* parameters, const T* __restrict label, const T* __restrict prediction,
          const Lanes<T>& scale, Lanes<T>* __restrict value, T* __restrict gradient) {
  const Loss loss(parameters);
  if (!gradient) {
    for (int64_t k = 0; k < kWidth; ++k)
      value->lane[k] = at<Loss, kCentred>(loss, label + k, prediction + k).value;
    return;
  }
  for (int64_t k = 0; k < kWidth; ++k) {
    const BoxPoint<T> point = at<Loss, kCentred>(loss, label + k, prediction + k);
    value->lane[k] = point.value;
    put<kCentred>(point.x, scale.lane[k], gradient + k);
    put<kCentred>(point.y, scale.lane[k], gradient + k + kWidth);
  }
}

template <class T>
BoxLoop<T> find(const char* loss, bool centred) {
#define FASTLOSS_FIND(NAME, ...) \
  if (same(loss, #NAME)) return centred ? walk<NAME<T>, true, T> : walk<NAME<T>, false, T>;
  FASTLOSS_BOX_LOSSES(FASTLOSS_FIND)
#undef FASTLOSS_FIND
  return nullptr;
}

}  // namespace

extern const BoxOps<float> kBoxOpsFloat;
extern const BoxOps<double> kBoxOpsDouble;
const BoxOps<float> kBoxOpsFloat = {find<float>};
const BoxOps<double> kBoxOpsDouble = {find<double>};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
