// The kernel over boxes: a thread takes whole boxes, four coordinates at a time.
#include "cuda/boxes/pass.h"
#include "cuda/common/reduce.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

// In every format the two coordinates of one axis are two elements apart.
template <class T>
FASTLOSS_INLINE Axis<T> axis_of(bool centred, const T* prediction, const T* label) {
  if (centred)
    return Axis<T>::of_centres(prediction[0], prediction[2], label[0], label[2]);
  else
    return Axis<T>::of_corners({prediction[0], prediction[2]}, {label[0], label[2]});
}

template <class T>
FASTLOSS_INLINE void put_slope(bool centred, Ends<T> slope, T scale, T* gradient) {
  gradient[0] = scale * (centred ? slope.low + slope.high : slope.low);
  gradient[2] = scale * (centred ? T(0.5) * (slope.high - slope.low) : slope.high);
}

template <int kSize>
__global__ void __launch_bounds__(kThreads, kSize == 8 ? 2 : 4)
    box_losses(const __grid_constant__ BoxPass<typename Predictions<kSize>::T> pass) {
  using T = typename Predictions<kSize>::T;
  constexpr int kWidth = 16 / kSize < kBoxSize ? 16 / kSize : kBoxSize;  // of a store
  const T scale =
      pass.gradient ? T(pass.inverse(1)) * (pass.upstream ? *pass.upstream : T(1)) : T(0);
  const int64_t end = pass.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t begin = pass.pieces.begin(blockIdx.x); begin < end; begin += kThreads) {
    const int64_t box = begin + threadIdx.x, first[1] = {box * kBoxSize};
    RawVectors<1, kBoxSize> labels, predictions;
    T label[kBoxSize], prediction[kBoxSize];
    predictions.template load_of_size<kSize>(pass.y_pred, first, 0, end * kBoxSize);
    labels.load_any(pass.y_true_size, pass.y_true, first, 0, end * kBoxSize);
    Predictions<kSize>::widen(predictions, pass.y_pred_dtype, prediction);
    labels.widen_any(pass.y_true_dtype, label);
    if (box >= end) continue;
    const BoxPoint<T> point = pass.loss(axis_of(pass.centred, prediction, label),
                                        axis_of(pass.centred, prediction + 1, label + 1));
    T weight = 1;
    if (pass.weight.data) pass.weight.template multiply<1>(box, &weight);
    sum += double(point.value * weight);
    if (pass.losses) pass.losses[box] = point.value * weight;
    if (!pass.gradient) continue;
    T of_box = scale * weight, slopes[kBoxSize];
    if (pass.upstream_of_box) of_box *= pass.upstream_of_box[box];
    put_slope(pass.centred, point.x, of_box, slopes);
    put_slope(pass.centred, point.y, of_box, slopes + 1);
    FASTLOSS_UNROLL
    for (int i = 0; i < kBoxSize; i += kWidth)
      store_numbers<kSize, kWidth>(slopes + i, pass.y_pred_dtype, first[0] + i, 0, end * kBoxSize,
                                   pass.gradient);
  }
  if (!pass.partials) return;
  sum = block_sum(sum);
  if (threadIdx.x == 0) pass.partials[blockIdx.x] = sum;
}

}  // namespace

template <int kSize>
int launch_boxes(const BoxPass<typename Predictions<kSize>::T>& pass, void* stream) {
  return launch(box_losses<kSize>, pass.pieces.count, kThreads, 0, stream, pass);
}
template int launch_boxes<2>(const BoxPass<float>&, void*);
template int launch_boxes<4>(const BoxPass<float>&, void*);
template int launch_boxes<8>(const BoxPass<double>&, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
