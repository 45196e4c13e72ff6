// The driver of the rowwise pattern on a GPU: the kernels that a call starts, and the scratch
// through which they pass on their results.
#include "api/error.h"
#include "api/fastloss_cuda.h"
#include "api/rowwise_call.h"
#include "cuda/rowwise/row_summary.h"
#include "cuda/rowwise/rows.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

// The kernels count the vectors of a row in 32 bits.
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

bool finds_ignored(const fastloss_rowwise& call) {
  return call.has_ignore_class && !is_sparse(call);
}

bool has_short_rows(const fastloss_rowwise& call) {
  return call.inner == 1 && call.classes <= kShortRowClasses;
}

Pieces pieces_of(const fastloss_rowwise& call) {
  if (!rows_of(call)) return Pieces();
  const int64_t at_once =
      call.inner != 1        ? kStridedRows
      : has_short_rows(call) ? rows_of_tile(call.classes)
                             : contiguous_rows_at_once(call.classes, dtype_size(call.y_pred_dtype));
  return Pieces(rows_of(call), at_once);
}

// What the divisor adds up: rows that are not ignored, or weights.
Pieces summed_by_divisor(const fastloss_rowwise& call) {
  if (!rows_of(call) || !is_mean(call)) return Pieces();
  if (call.has_ignore_class) return divisor_pieces(rows_of(call));
  return divides_by_weights(call) ? divisor_pieces(call.weight_count) : Pieces();
}

// Offsets into a call's scratch.
struct Scratch {
  DivisorScratch divisor;
  int64_t partials, ignored, bytes;

  explicit Scratch(const fastloss_rowwise& call)
      : divisor(summed_by_divisor(call), 0), partials(divisor.end) {
    ignored = partials + pieces_of(call).count * int64_t(sizeof(double));
    bytes = (ignored + (finds_ignored(call) ? rows_of(call) : 0) + 7) / 8 * 8;
  }
};

template <class T>
class Driver {
 public:
  Driver(const fastloss_rowwise& call, void* scratch, void* stream)
      : call_(call), layout_(call), scratch_(static_cast<char*>(scratch)), stream_(stream) {
    pass_.rows = rows_of(call);
    pass_.classes = call.classes;
    if (call.inner > 0) pass_.inner = Divider(call.inner);
    pass_.pieces = pieces_of(call);
    pass_.y_true_dtype = call.y_true_dtype;
    pass_.y_true_size = int32_t(dtype_size(call.y_true_dtype));
    pass_.y_pred_dtype = call.y_pred_dtype;
    pass_.sparse = is_sparse(call);
    pass_.y_true = call.y_true;
    pass_.y_pred = call.y_pred;
    pass_.weight = BroadcastWeights<T>(call.weight, call.weight_count, call.weight_repeat);
    pass_.class_weight = static_cast<const T*>(call.class_weight);
    pass_.has_ignore_class = call.has_ignore_class;
    pass_.ignore_class = call.ignore_class;
    if (finds_ignored(call))
      pass_.ignored = reinterpret_cast<const uint8_t*>(scratch_ + layout_.ignored);
    pass_.functor = TaggedRowLoss<T>(call.loss, call.parameters);
    pass_.inverse = inverse_of(call, double(pass_.rows), layout_.divisor, scratch_);
    set_options();
  }

  int forward(T* loss, void* gradient, T* log_sum_exp, uint8_t* hit) {
    pass_.gradient = gradient;
    pass_.log_sum_exp = log_sum_exp;
    pass_.hit = hit;
    if (call_.reduction == FASTLOSS_NONE) {
      pass_.loss = loss;
      return start_pass();
    }
    pass_.partials = reinterpret_cast<double*>(scratch_ + layout_.partials);
    if (start_pass()) return -1;
    return launch_row_total(pass_, loss, stream_);
  }

  int backward(const T* upstream, void* gradient) {
    if (!call_.classes) return 0;
    pass_.gradient = gradient;
    pass_.upstream = upstream;
    pass_.upstream_of_row = call_.reduction == FASTLOSS_NONE;
    return start_pass();
  }

 private:
  void set_options() {
    pass_.transforms_labels = call_.label_smoothing != 0 || call_.class_weight;
    pass_.label_scale = T(1 - call_.label_smoothing);
    pass_.label_shift = call_.classes ? T(call_.label_smoothing / double(call_.classes)) : T(0);
    const bool scales = call_.temperature != 1 || call_.logit_softcap != 0;
    pass_.scales_logits = pass_.functor.prediction == Normalization::softmax && scales;
    pass_.scales_label_logits = pass_.functor.label == Normalization::softmax && scales;
    pass_.inverse_temperature = T(1 / call_.temperature);
    const T cap = T(call_.logit_softcap);
    if (cap != 0) {
      pass_.inverse_cap = T(1) / cap;
      pass_.scaled_cap = cap * pass_.inverse_temperature;
      pass_.inverse_scaled_cap = T(1) / pass_.scaled_cap;
    }
    pass_.z_loss = T(call_.z_loss);
  }

  int start_divisor() {
    if (layout_.divisor.on_device() && call_.has_ignore_class)
      return launch_count(pass_, divides_by_weights(call_),
                          layout_.divisor.sum(double(call_.replicas), scratch_), stream_);
    return fastloss::FASTLOSS_ISA::start_divisor<T>(call_, layout_.divisor, scratch_, stream_);
  }

  int start_pass() {
    if (!pass_.rows) return 0;
    if (pass_.ignored &&
        launch_ignored(pass_, reinterpret_cast<uint8_t*>(scratch_ + layout_.ignored), stream_))
      return -1;
    if (start_divisor()) return -1;
    if constexpr (sizeof(T) == 8)
      return start_of_size<8>();
    else
      return dtype_size(call_.y_pred_dtype) == 4 ? start_of_size<4>() : start_of_size<2>();
  }

  template <int kSize>
  int start_of_size() {
    const bool at_label = pass_.functor.at_label.index && call_.label_smoothing == 0;
    if (call_.inner != 1) return launch_strided_rows<kSize>(pass_, at_label, stream_);
    if (has_short_rows(call_)) return launch_short_rows<kSize>(pass_, at_label, stream_);
    return launch_contiguous_rows<kSize>(pass_, at_label, stream_);
  }

  const fastloss_rowwise& call_;
  const Scratch layout_;
  char* const scratch_;
  void* const stream_;
  RowPass<T> pass_{};
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
