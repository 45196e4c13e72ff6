// The driver of the boxes pattern on a GPU.
#include "api/error.h"
#include "api/fastloss_cuda.h"
#include "cuda/boxes/pass.h"
#include "cuda/common/summary.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

// Offsets into a call's scratch.
struct Scratch {
  DivisorScratch divisor;
  Pieces pieces;
  int64_t partials, bytes;

  explicit Scratch(const fastloss_boxes& call)
      : divisor(DivisorScratch::of_weights(call, 0)),
        pieces(call.boxes, kThreads),
        partials(divisor.end) {
    bytes = partials + pieces.count * int64_t(sizeof(double));
  }
};

template <class T>
class Driver {
 public:
  Driver(const fastloss_boxes& call, void* scratch, void* stream)
      : call_(call), layout_(call), scratch_(static_cast<char*>(scratch)), stream_(stream) {
    pass_.boxes = call.boxes;
    pass_.pieces = layout_.pieces;
    pass_.loss = TaggedBoxLoss<T>(call.loss, call.parameters);
    pass_.centred = call.box_format == FASTLOSS_CENTRE;
    pass_.y_true_dtype = call.y_true_dtype;
    pass_.y_true_size = int32_t(dtype_size(call.y_true_dtype));
    pass_.y_pred_dtype = call.y_pred_dtype;
    pass_.y_true = call.y_true;
    pass_.y_pred = call.y_pred;
    if (call.weight)
      pass_.weight = BroadcastWeights<T>(call.weight, call.weight_count, call.weight_repeat);
    pass_.inverse = inverse_of(call, double(call.boxes), layout_.divisor, scratch_);
  }

  int forward(T* loss, void* gradient) {
    pass_.gradient = gradient;
    if (call_.reduction == FASTLOSS_NONE) {
      pass_.losses = loss;
      return start_pass();
    }
    pass_.partials = reinterpret_cast<double*>(scratch_ + layout_.partials);
    if (start_pass()) return -1;
    Summary<T> summary{};
    summary.count = 1;
    summary.pieces = layout_.pieces.count;
    summary.partials = pass_.partials;
    summary.inverse = pass_.inverse;
    summary.empty = !call_.boxes;
    summary.loss_scale[0] = summary.term_scale[0] = 1;
    summary.loss = loss;
    return launch_summary(summary, stream_);
  }

  int backward(const T* upstream, void* gradient) {
    pass_.gradient = gradient;
    (call_.reduction == FASTLOSS_NONE ? pass_.upstream_of_box : pass_.upstream) = upstream;
    return start_pass();
  }

 private:
  int start_pass() {
    if (start_divisor<T>(call_, layout_.divisor, scratch_, stream_)) return -1;
    if (!call_.boxes) return 0;
    if constexpr (sizeof(T) == 8)
      return launch_boxes<8>(pass_, stream_);
    else
      return dtype_size(call_.y_pred_dtype) == 4 ? launch_boxes<4>(pass_, stream_)
                                                 : launch_boxes<2>(pass_, stream_);
  }

  const fastloss_boxes& call_;
  const Scratch layout_;
  char* const scratch_;
  void* const stream_;
  BoxPass<T> pass_{};
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
