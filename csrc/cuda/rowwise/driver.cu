// The driver of the rowwise pattern on a GPU: which kernels a call starts, and where in its scratch
// they leave what the next one wants.
#include "api/error.h"
#include "api/fastloss_cuda.h"
#include "api/rowwise_call.h"
#include "cuda/rowwise/row_summary.h"
#include "cuda/rowwise/rows.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

// Vectors of a row are counted in 32 bits.
constexpr int64_t kLongestRow = int64_t{1} << 34;

int check_for_device(const fastloss_rowwise& call) {
  if (check_rowwise(call)) return -1;
  if (call.inner == 1 && call.classes > kLongestRow / dtype_size(call.y_pred_dtype))
    return fail("a row of %lld classes is longer than 16 GiB, the most that the GPU's kernels take",
                static_cast<long long>(call.classes));
  return 0;
}

int64_t rows_of(const fastloss_rowwise& call) { return call.outer * call.inner; }

bool is_sparse(const fastloss_rowwise& call) {
  return find_loss(kRowwiseLosses, call.loss)->sparse;
}

bool is_mean(const fastloss_rowwise& call) {
  return call.reduction == FASTLOSS_MEAN || call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
}

bool by_weight(const fastloss_rowwise& call) {
  return call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT && call.weight && call.weight_count;
}

bool finds_ignored(const fastloss_rowwise& call) {
  return call.has_ignore_class && !is_sparse(call);
}

bool in_tiles(const fastloss_rowwise& call) {
  return call.inner == 1 && call.classes <= kTileClasses;
}

Pieces pieces_of(const fastloss_rowwise& call) {
  if (!rows_of(call)) return Pieces();
  const int64_t at_once = call.inner != 1 ? kRowsApart
                          : in_tiles(call)
                              ? rows_of_tile(call.classes)
                              : rows_along_at_once(call.classes, dtype_size(call.y_pred_dtype));
  return Pieces(rows_of(call), at_once);
}

// Where a call's scratch holds what.
struct Scratch {
  static constexpr int64_t kDivisorTile = 8 * kThreads;

  Pieces counted;  // of what the divisor adds up: rows, or weights
  int64_t inverse = 0, counts = 8, partials, ignored, bytes;

  explicit Scratch(const fastloss_rowwise& call) {
    if (rows_of(call) && is_mean(call)) {
      if (call.has_ignore_class)
        counted = Pieces(rows_of(call), kDivisorTile);
      else if (by_weight(call))
        counted = Pieces(call.weight_count, kDivisorTile);
    }
    partials = counts + counted.count * int64_t(sizeof(double));
    ignored = partials + pieces_of(call).count * int64_t(sizeof(double));
    bytes = (ignored + (finds_ignored(call) ? rows_of(call) : 0) + 7) / 8 * 8;
  }
};

template <class T>
class Driver {
 public:
  Driver(const fastloss_rowwise& call, void* scratch, void* stream)
      : call_(call), layout_(call), scratch_(static_cast<char*>(scratch)), stream_(stream) {
    walk_.rows = rows_of(call);
    walk_.classes = call.classes;
    if (call.inner > 0) walk_.inner = Divider(call.inner);
    walk_.pieces = pieces_of(call);
    walk_.y_true_dtype = call.y_true_dtype;
    walk_.y_true_size = int32_t(dtype_size(call.y_true_dtype));
    walk_.y_pred_dtype = call.y_pred_dtype;
    walk_.sparse = is_sparse(call);
    walk_.y_true = call.y_true;
    walk_.y_pred = call.y_pred;
    walk_.weight = Cycle<T>(call.weight, call.weight_count, call.weight_repeat);
    walk_.class_weight = static_cast<const T*>(call.class_weight);
    walk_.has_ignore_class = call.has_ignore_class;
    walk_.ignore_class = call.ignore_class;
    if (finds_ignored(call))
      walk_.ignored = reinterpret_cast<const uint8_t*>(scratch_ + layout_.ignored);
    walk_.functor = BoxedRowLoss<T>(call.loss, call.parameters);
    set_options();
    set_divisor();
  }

  int forward(T* loss, void* gradient, T* log_sum_exp, uint8_t* hit) {
    walk_.gradient = gradient;
    walk_.log_sum_exp = log_sum_exp;
    walk_.hit = hit;
    if (call_.reduction == FASTLOSS_NONE) {
      walk_.loss = loss;
      return walk();
    }
    walk_.partials = reinterpret_cast<double*>(scratch_ + layout_.partials);
    if (walk()) return -1;
    return launch_row_total(walk_, loss, stream_);
  }

  int backward(const T* upstream, void* gradient) {
    if (!call_.classes) return 0;
    walk_.gradient = gradient;
    walk_.upstream = upstream;
    walk_.upstream_of_row = call_.reduction == FASTLOSS_NONE;
    return walk();
  }

 private:
  void set_options() {
    walk_.smooths = call_.label_smoothing != 0 || call_.class_weight;
    walk_.keep = T(1 - call_.label_smoothing);
    walk_.shift = call_.classes ? T(call_.label_smoothing / double(call_.classes)) : T(0);
    const bool soft = call_.temperature != 1 || call_.logit_softcap != 0;
    walk_.softens = walk_.functor.prediction == Normalization::softmax && soft;
    walk_.softens_label = walk_.functor.label == Normalization::softmax && soft;
    walk_.softness = T(1 / call_.temperature);
    const T cap = T(call_.logit_softcap);
    if (cap != 0) {
      walk_.inverse_cap = T(1) / cap;
      walk_.height = cap * walk_.softness;
      walk_.inverse_height = T(1) / walk_.height;
    }
    walk_.z_loss = T(call_.z_loss);
  }

  void set_divisor() {
    if (layout_.counted.count) {
      walk_.inverse_at = reinterpret_cast<const double*>(scratch_ + layout_.inverse);
      return;
    }
    const double divisor = is_mean(call_) ? double(walk_.rows) * call_.replicas : 1;
    walk_.inverse = divisor == 0 ? 0 : 1 / divisor;
  }

  int start_divisor() {
    if (!layout_.counted.count) return 0;
    Divisor divisor{};
    divisor.pieces = layout_.counted;
    divisor.partials = reinterpret_cast<double*>(scratch_ + layout_.counts);
    divisor.multiplier = double(call_.replicas);
    divisor.inverse = reinterpret_cast<double*>(scratch_ + layout_.inverse);
    if (call_.has_ignore_class) return launch_count(walk_, by_weight(call_), divisor, stream_);
    if (call_.weight_expansion > 1) divisor.multiplier /= double(call_.weight_expansion);
    return launch_divisor(static_cast<const T*>(call_.weight), divisor, stream_);
  }

  int walk() {
    if (!walk_.rows) return 0;
    if (walk_.ignored &&
        launch_ignored(walk_, reinterpret_cast<uint8_t*>(scratch_ + layout_.ignored), stream_))
      return -1;
    if (start_divisor()) return -1;
    if constexpr (sizeof(T) == 8)
      return walk_of_size<8>();
    else
      return dtype_size(call_.y_pred_dtype) == 4 ? walk_of_size<4>() : walk_of_size<2>();
  }

  template <int kSize>
  int walk_of_size() {
    const bool picks = walk_.functor.picked.index && call_.label_smoothing == 0;
    if (call_.inner != 1) return launch_rows_apart<kSize>(walk_, picks, stream_);
    if (in_tiles(call_)) return launch_rows_in_tiles<kSize>(walk_, picks, stream_);
    return launch_rows_along<kSize>(walk_, picks, stream_);
  }

  const fastloss_rowwise& call_;
  const Scratch layout_;
  char* const scratch_;
  void* const stream_;
  RowWalk<T> walk_{};
};

}  // namespace
}  // namespace FASTLOSS_ISA
}  // namespace fastloss

int64_t fastloss_cuda_rowwise_scratch(const fastloss_rowwise* call) {
  using namespace fastloss;
  if (cuda::check_for_device(*call)) return -1;
  return cuda::Scratch(*call).bytes;
}

int fastloss_cuda_rowwise_forward(const fastloss_rowwise* call, void* loss, void* gradient,
                                  void* log_sum_exp, uint8_t* hit, void* scratch, void* stream) {
  using namespace fastloss;
  if (check_rowwise_forward(*call, gradient) || cuda::check_for_device(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .forward(static_cast<double*>(loss), gradient, static_cast<double*>(log_sum_exp), hit);
  return cuda::Driver<float>(*call, scratch, stream)
      .forward(static_cast<float*>(loss), gradient, static_cast<float*>(log_sum_exp), hit);
}

int fastloss_cuda_rowwise_backward(const fastloss_rowwise* call, const void* upstream,
                                   void* gradient, void* scratch, void* stream) {
  using namespace fastloss;
  if (cuda::check_for_device(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .backward(static_cast<const double*>(upstream), gradient);
  return cuda::Driver<float>(*call, scratch, stream)
      .backward(static_cast<const float*>(upstream), gradient);
}
