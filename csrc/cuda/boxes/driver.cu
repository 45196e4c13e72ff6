// The boxes on a GPU: a thread takes whole boxes, four coordinates at a time.
#include <cstring>

#include "api/boxes_call.h"
#include "api/error.h"
#include "api/fastloss_cuda.h"
#include "cuda/common/reduction.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

#define FASTLOSS_ID(NAME, ...) NAME,
enum class BoxLossId : int32_t { FASTLOSS_BOX_LOSSES(FASTLOSS_ID) };
#undef FASTLOSS_ID

// A loss in a box of its own: which it is, is looked up for each pair.
template <class T>
struct BoxedLoss {
  BoxLossId loss;
  alignas(8) unsigned char functor[sizeof(complete_box_iou<T>)];

  BoxedLoss() = default;
  BoxedLoss(const char* name, const double* parameters) {
#define FASTLOSS_BOX(NAME, ...)                                                          \
  if (!std::strcmp(name, #NAME)) {                                                       \
    static_assert(sizeof(NAME<T>) <= sizeof(functor), "no loss has more than this one"); \
    const NAME<T> made(parameters);                                                      \
    loss = BoxLossId::NAME;                                                              \
    std::memcpy(functor, &made, sizeof(made));                                           \
  }
    FASTLOSS_BOX_LOSSES(FASTLOSS_BOX)
#undef FASTLOSS_BOX
  }

  FASTLOSS_INLINE BoxPoint<T> operator()(const Axis<T>& x, const Axis<T>& y) const {
#define FASTLOSS_UNBOX(NAME, ...) \
  case BoxLossId::NAME:           \
    return (*reinterpret_cast<const NAME<T>*>(functor))(x, y);
    switch (loss) { FASTLOSS_BOX_LOSSES(FASTLOSS_UNBOX) }
#undef FASTLOSS_UNBOX
    return {};
  }
};

template <class T>
struct BoxWalk {
  int64_t boxes;
  Pieces pieces;
  BoxedLoss<T> loss;
  bool centred;
  int32_t y_true_dtype, y_true_size, y_pred_dtype;
  const void* y_true;
  const void* y_pred;
  void* gradient;            // or null
  T* losses;                 // one for each box, or null
  double* partials;          // one for each piece, or null
  Cycle<T> weight;           // or without data
  const T* upstream;         // of a scalar loss, or null
  const T* upstream_of_box;  // likewise
  Inverse inverse;
};

// In every format, what belongs to one axis is two coordinates apart.
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
    box_losses(const __grid_constant__ BoxWalk<typename Predictions<kSize>::T> walk) {
  using T = typename Predictions<kSize>::T;
  constexpr int kWidth = 16 / kSize < kBoxSize ? 16 / kSize : kBoxSize;  // of a store
  const T scale =
      walk.gradient ? T(walk.inverse(1)) * (walk.upstream ? *walk.upstream : T(1)) : T(0);
  const int64_t end = walk.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t begin = walk.pieces.begin(blockIdx.x); begin < end; begin += kThreads) {
    const int64_t box = begin + threadIdx.x, first[1] = {box * kBoxSize};
    RawVectors<1, kBoxSize> labels, predictions;
    T label[kBoxSize], prediction[kBoxSize];
    predictions.template load_of_size<kSize>(walk.y_pred, first, 0, end * kBoxSize);
    labels.load_any(walk.y_true_size, walk.y_true, first, 0, end * kBoxSize);
    Predictions<kSize>::widen(predictions, walk.y_pred_dtype, prediction);
    labels.widen_any(walk.y_true_dtype, label);
    if (box >= end) continue;
    const BoxPoint<T> point = walk.loss(axis_of(walk.centred, prediction, label),
                                        axis_of(walk.centred, prediction + 1, label + 1));
    T weight = 1;
    if (walk.weight.data) walk.weight.template multiply<1>(box, &weight);
    sum += double(point.value * weight);
    if (walk.losses) walk.losses[box] = point.value * weight;
    if (!walk.gradient) continue;
    T of_box = scale * weight, slopes[kBoxSize];
    if (walk.upstream_of_box) of_box *= walk.upstream_of_box[box];
    put_slope(walk.centred, point.x, of_box, slopes);
    put_slope(walk.centred, point.y, of_box, slopes + 1);
    FASTLOSS_UNROLL
    for (int i = 0; i < kBoxSize; i += kWidth)
      store_numbers<kSize, kWidth>(slopes + i, walk.y_pred_dtype, first[0] + i, 0, end * kBoxSize,
                                   walk.gradient);
  }
  if (!walk.partials) return;
  sum = block_sum(sum);
  if (threadIdx.x == 0) walk.partials[blockIdx.x] = sum;
}

struct Scratch {
  InverseScratch inverse;
  Pieces pieces;
  int64_t partials, bytes;

  explicit Scratch(const fastloss_boxes& call)
      : inverse(call, 0), pieces(call.boxes, kThreads), partials(inverse.end) {
    bytes = partials + pieces.count * int64_t(sizeof(double));
  }
};

template <class T>
class Driver {
 public:
  Driver(const fastloss_boxes& call, void* scratch, void* stream)
      : call_(call), layout_(call), scratch_(static_cast<char*>(scratch)), stream_(stream) {
    walk_.boxes = call.boxes;
    walk_.pieces = layout_.pieces;
    walk_.loss = BoxedLoss<T>(call.loss, call.parameters);
    walk_.centred = call.box_format == FASTLOSS_CENTRE;
    walk_.y_true_dtype = call.y_true_dtype;
    walk_.y_true_size = int32_t(dtype_size(call.y_true_dtype));
    walk_.y_pred_dtype = call.y_pred_dtype;
    walk_.y_true = call.y_true;
    walk_.y_pred = call.y_pred;
    if (call.weight) walk_.weight = Cycle<T>(call.weight, call.weight_count, call.weight_repeat);
    walk_.inverse = inverse_of(call, double(call.boxes), layout_.inverse, scratch_);
  }

  int forward(T* loss, void* gradient) {
    walk_.gradient = gradient;
    if (call_.reduction == FASTLOSS_NONE) {
      walk_.losses = loss;
      return walk();
    }
    walk_.partials = reinterpret_cast<double*>(scratch_ + layout_.partials);
    if (walk()) return -1;
    Summary<T> summary{};
    summary.count = 1;
    summary.pieces = layout_.pieces.count;
    summary.empty = !call_.boxes;
    summary.of_loss[0] = summary.of_term[0] = 1;
    summary.loss = loss;
    return start_summary(summary, walk_.partials, walk_.inverse, stream_);
  }

  int backward(const T* upstream, void* gradient) {
    walk_.gradient = gradient;
    (call_.reduction == FASTLOSS_NONE ? walk_.upstream_of_box : walk_.upstream) = upstream;
    return walk();
  }

 private:
  int walk() {
    if (start_inverse<T>(call_, layout_.inverse, scratch_, stream_)) return -1;
    if (!call_.boxes) return 0;
    if constexpr (sizeof(T) == 8)
      return start(box_losses<8>);
    else
      return dtype_size(call_.y_pred_dtype) == 4 ? start(box_losses<4>) : start(box_losses<2>);
  }
  int start(void (*kernel)(BoxWalk<T>)) {
    return launch(kernel, walk_.pieces.count, kThreads, 0, stream_, walk_);
  }

  const fastloss_boxes& call_;
  const Scratch layout_;
  char* const scratch_;
  void* const stream_;
  BoxWalk<T> walk_{};
};

}  // namespace
}  // namespace FASTLOSS_ISA
}  // namespace fastloss

int64_t fastloss_cuda_boxes_scratch(const fastloss_boxes* call) {
  using namespace fastloss;
  if (check_boxes_backward(*call)) return -1;
  return cuda::Scratch(*call).bytes;
}

int fastloss_cuda_boxes_forward(const fastloss_boxes* call, void* loss, void* gradient,
                                void* scratch, void* stream) {
  using namespace fastloss;
  if (check_boxes_forward(*call, gradient)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .forward(static_cast<double*>(loss), gradient);
  return cuda::Driver<float>(*call, scratch, stream).forward(static_cast<float*>(loss), gradient);
}

int fastloss_cuda_boxes_backward(const fastloss_boxes* call, const void* upstream, void* gradient,
                                 void* scratch, void* stream) {
  using namespace fastloss;
  if (check_boxes_backward(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .backward(static_cast<const double*>(upstream), gradient);
  return cuda::Driver<float>(*call, scratch, stream)
      .backward(static_cast<const float*>(upstream), gradient);
}
