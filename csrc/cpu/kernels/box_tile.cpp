#include "cpu/kernels/box_tile.h"

#include "cpu/kernels/same_text.h"
#include "losses/boxes.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int64_t kWidth = kRowLanes;
// In every format, the two coordinates of one axis are as far from each other.
constexpr int64_t kOther = 2 * kWidth;

template <bool kCentred, class T>
FASTLOSS_INLINE Axis<T> axis_of(const T* prediction, const T* label) {
  if constexpr (kCentred)
    return Axis<T>::of_centres(prediction[0], prediction[kOther], label[0], label[kOther]);
  else
    return Axis<T>::of_corners({prediction[0], prediction[kOther]}, {label[0], label[kOther]});
}

template <bool kCentred, class T>
FASTLOSS_INLINE void store(Ends<T> slope, T scale, T* gradient) {
  gradient[0] = scale * (kCentred ? slope.low + slope.high : slope.low);
  gradient[kOther] = scale * (kCentred ? T(0.5) * (slope.high - slope.low) : slope.high);
}

template <class Loss, bool kCentred, class T>
FASTLOSS_INLINE BoxPoint<T> at(const Loss& loss, const T* label, const T* prediction) {
  return loss(axis_of<kCentred>(prediction, label),
              axis_of<kCentred>(prediction + kWidth, label + kWidth));
}

template <class Loss, bool kCentred, class T>
void evaluate(const double* parameters, const T* __restrict label, const T* __restrict prediction,
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
    store<kCentred>(point.x, scale.lane[k], gradient + k);
    store<kCentred>(point.y, scale.lane[k], gradient + k + kWidth);
  }
}

template <class T>
BoxLoop<T> find(const char* loss, bool centred) {
#define FASTLOSS_FIND(NAME, ...) \
  if (same_text(loss, #NAME))    \
    return centred ? evaluate<NAME<T>, true, T> : evaluate<NAME<T>, false, T>;
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
