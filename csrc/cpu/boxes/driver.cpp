// The driver of the boxes: one pass over labels and predictions, kRowLanes interleaved boxes at a
// time, in fixed pieces that depend on the number of boxes alone.
#include <vector>

#include "api/boxes_call.h"
#include "api/reduction.h"
#include "cpu/kernels/box_tile.h"
#include "cpu/kernels/isa.h"
#include "cpu/kernels/rowwise.h"
#include "cpu/kernels/tile.h"
#include "cpu/runtime/broadcast_weights.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {
namespace {

constexpr int64_t kW = kRowLanes, kBlock = kBoxSize * kW;
constexpr int64_t kBoxesPerPiece = kPiece / kBoxSize;

template <class T>
class BoxesDriver {
 public:
  BoxesDriver(const fastloss_boxes& call, const Isa& isa)
      : call_(call),
        ops_(isa.ops<T>()),
        row_ops_(isa.row_ops<T>()),
        loop_(isa.box_ops<T>().find(call.loss, call.box_format == FASTLOSS_CENTRE)),
        label_size_(dtype_size(call.y_true_dtype)),
        prediction_size_(dtype_size(call.y_pred_dtype)),
        weight_(weights_of<T>(call)) {}

  void forward(T* loss, void* gradient) {
    const double factor = reduction_factor();
    gradient_scale_ = T(factor);
    const bool each = call_.reduction == FASTLOSS_NONE;
    const double total = run(gradient, each ? loss : nullptr);
    if (!each) *loss = T(total * factor);
  }

  void backward(const T* upstream, void* gradient) {
    gradient_scale_ = T(reduction_factor());
    if (call_.reduction == FASTLOSS_NONE)
      upstream_ = upstream;
    else
      gradient_scale_ *= *upstream;
    run(gradient, nullptr);
  }

 private:
  double reduction_factor() const {
    const double divisor = divisor_of<T>(call_, call_.boxes);
    return divisor == 0 ? 0 : 1 / divisor;
  }

  double run(void* gradient, T* losses) {
    gradient_ = static_cast<char*>(gradient);
    losses_ = losses;
    stream_ = gradient && gradient != call_.y_pred &&
              call_.boxes * kBoxSize * prediction_size_ >= kStreamBytes;
    const int64_t pieces = ceil_div(call_.boxes, kBoxesPerPiece);
    std::vector<double> partial(pieces);
    parallel_pieces(
        call_.parallel_for, call_.parallel_context, pieces, stream_, [&](int64_t piece) {
          const int64_t begin = piece * kBoxesPerPiece;
          partial[piece] = run_piece(begin, std::min(call_.boxes, begin + kBoxesPerPiece));
        });
    double total = 0;
    for (const double sum : partial) total += sum;
    return total;
  }

  double run_piece(int64_t begin, int64_t end) const {
    alignas(64) T label[kBlock], prediction[kBlock], slopes[kBlock];
    Lanes<T> weight, scale, value;
    double total = 0;
    for (int64_t first = begin; first < end; first += kW) {
      const int64_t count = std::min(kW, end - first);
      load(call_.y_true, call_.y_true_dtype, label_size_, first, count, label);
      load(call_.y_pred, call_.y_pred_dtype, prediction_size_, first, count, prediction);
      std::fill(weight.lane, weight.lane + kW, T(1));
      if (weight_.data)
        weight_.visit(first, count, [&](int64_t k, T factor) { weight.lane[k] = factor; });
      for (int64_t k = 0; k < kW; ++k) scale.lane[k] = gradient_scale_ * weight.lane[k];
      if (upstream_)
        for (int64_t k = 0; k < count; ++k) scale.lane[k] *= upstream_[first + k];
      loop_(call_.parameters, label, prediction, scale, &value, gradient_ ? slopes : nullptr);
      for (int64_t k = 0; k < kW; ++k) value.lane[k] *= weight.lane[k];
      std::fill(value.lane + count, value.lane + kW, T(0));
      if (losses_) std::copy(value.lane, value.lane + count, losses_ + first);
      total += double(row_ops_.sum(value));
      if (gradient_) store(first, count, slopes);
    }
    return total;
  }

  void load(const void* boxes, int32_t dtype, int64_t size, int64_t first, int64_t count,
            T* lanes) const {
    alignas(64) T rows[kBlock];
    const char* const from = static_cast<const char*>(boxes) + first * kBoxSize * size;
    const bool converts = dtype != dtype_of<T>();
    if (converts) ops_.load(dtype, from, rows, count * kBoxSize);
    row_ops_.interleave(converts ? rows : reinterpret_cast<const T*>(from), count, kBoxSize, lanes);
  }

  void store(int64_t first, int64_t count, const T* lanes) const {
    alignas(64) T rows[kBlock];
    char* const to = gradient_ + first * kBoxSize * prediction_size_;
    const bool direct = !stream_ && call_.y_pred_dtype == dtype_of<T>();
    row_ops_.deinterleave(lanes, count, kBoxSize, direct ? reinterpret_cast<T*>(to) : rows);
    if (!direct) ops_.store(call_.y_pred_dtype, rows, to, count * kBoxSize, stream_, nullptr);
  }

  const fastloss_boxes& call_;
  const TileOps<T>& ops_;
  const RowOps<T>& row_ops_;
  const BoxLoop<T> loop_;
  const int64_t label_size_, prediction_size_;
  const BroadcastWeights<T> weight_;
  const T* upstream_ = nullptr;
  char* gradient_ = nullptr;
  T* losses_ = nullptr;
  T gradient_scale_ = 1;
  bool stream_ = false;
};

}  // namespace
}  // namespace fastloss

int fastloss_boxes_forward(const fastloss_boxes* call, void* loss, void* gradient) {
  using namespace fastloss;
  if (check_boxes_forward(*call, gradient)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    BoxesDriver<double>(*call, isa()).forward(static_cast<double*>(loss), gradient);
  else
    BoxesDriver<float>(*call, isa()).forward(static_cast<float*>(loss), gradient);
  return 0;
}

int fastloss_boxes_backward(const fastloss_boxes* call, const void* upstream, void* gradient) {
  using namespace fastloss;
  if (check_boxes_backward(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    BoxesDriver<double>(*call, isa()).backward(static_cast<const double*>(upstream), gradient);
  else
    BoxesDriver<float>(*call, isa()).backward(static_cast<const float*>(upstream), gradient);
  return 0;
}
