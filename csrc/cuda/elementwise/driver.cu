// The driver of the elementwise pattern on a GPU: which kernels a call starts, and where in its
// scratch they leave what the next one wants.
#include <algorithm>
#include <vector>

#include "api/elementwise_call.h"
#include "api/error.h"
#include "api/fastloss_cuda.h"
#include "cuda/common/summary.h"
#include "cuda/elementwise/multi_term.h"
#include "cuda/elementwise/single_term.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

int64_t prediction_size(const fastloss_elementwise& call) { return dtype_size(call.y_pred_dtype); }

bool divisor_on_device(const fastloss_elementwise& call) {
  return call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT && call.weight && call.weight_count;
}

// One loss of a scalar reduction has kernels of its own.
bool has_own_kernel(const fastloss_elementwise& call, bool backward) {
  return call.term_count == 1 && (backward || call.reduction != FASTLOSS_NONE);
}

int64_t tile_of(const fastloss_elementwise& call, bool backward) {
  const int64_t size = prediction_size(call);
  if (has_own_kernel(call, backward))
    return size == 2   ? OneLossTile<2>::kElements
           : size == 4 ? OneLossTile<4>::kElements
                       : OneLossTile<8>::kElements;
  return size == 8 ? AnyTile<double>::kElements : AnyTile<float>::kElements;
}

Rows rows_of(const fastloss_elementwise& call) {
  if (call.reduction != FASTLOSS_NONE || !call.rows || !call.columns) return Rows();
  return prediction_size(call) == 8
             ? Rows(call.rows, call.columns, AnyTile<double>::kElements, AnyTile<double>::kWidth)
             : Rows(call.rows, call.columns, AnyTile<float>::kElements, AnyTile<float>::kWidth);
}

// Where a call's scratch holds what.
struct Scratch {
  static constexpr int64_t kWeightTile = 8 * kThreads;

  Pieces weights;  // of the sum of weights
  int64_t guess = 0, inverse = 8, weight_partials = 16, partials, bytes;

  explicit Scratch(const fastloss_elementwise& call) {
    if (divisor_on_device(call)) weights = Pieces(call.weight_count, kWeightTile);
    partials = weight_partials + weights.count * int64_t(sizeof(double));
    const Rows rows = rows_of(call);
    const int64_t sums =
        call.reduction != FASTLOSS_NONE
            ? call.term_count * Pieces(call.rows * call.columns, tile_of(call, false)).count
        : rows.rows_of_tile ? 0
                            : rows.work;
    bytes = partials + sums * int64_t(sizeof(double));
  }
};

template <class T>
class Driver {
 public:
  Driver(const fastloss_elementwise& call, void* scratch, void* stream)
      : call_(call), layout_(call), scratch_(static_cast<char*>(scratch)), stream_(stream) {
    walk_.elements = call.rows * call.columns;
    walk_.y_true_dtype = call.y_true_dtype;
    walk_.y_true_size = int32_t(dtype_size(call.y_true_dtype));
    walk_.y_pred_dtype = call.y_pred_dtype;
    walk_.y_pred_size = int32_t(prediction_size(call));
    walk_.y_true = call.y_true;
    walk_.y_pred = call.y_pred;
    if (call.weight && call.columns)
      walk_.weight = Cycle<T>(call.weight, call.weight_count, call.weight_repeat * call.columns);
    if (call.column_weight)
      walk_.column = Cycle<T>(call.column_weight, call.column_weight_count, 1);
    set_divisor();
  }

  int forward(T* loss, T* term_values, void* gradient) {
    walk_.gradient = gradient;
    walk_.partials = reinterpret_cast<double*>(scratch_ + layout_.partials);
    if (call_.reduction == FASTLOSS_NONE) return forward_rows(loss);
    walk_.pieces = Pieces(walk_.elements, tile_of(call_, false));
    if (start_divisor() || walk_twice([&] { return walk_pieces(false); })) return -1;
    Summary<T> summary{};
    summary.count = call_.term_count;
    summary.pieces = walk_.pieces.count;
    summary.empty = !call_.rows;
    for (int32_t k = 0; k < call_.term_count; ++k) {
      summary.of_term[k] = of_row(call_.terms[k]);
      summary.of_loss[k] = of_term(call_.terms[k]);
    }
    summary.loss = loss;
    summary.term_values = term_values;
    return launch_summary(summary, walk_, stream_);
  }

  int backward(const T* upstream, void* gradient) {
    if (!walk_.elements) return 0;
    walk_.gradient = gradient;
    if (call_.reduction == FASTLOSS_NONE)
      walk_.upstream_of_row = Cycle<T>(upstream, call_.rows, call_.columns);
    else
      walk_.upstream = upstream;
    walk_.pieces = Pieces(walk_.elements, tile_of(call_, true));
    if (start_divisor()) return -1;
    return walk_twice([&] { return walk_pieces(true); });
  }

 private:
  // What a sum of the values of all elements is multiplied by for the sum of the rows.
  double of_row(const fastloss_term& term) const {
    const bool mean = find_loss(kElementwiseLosses, term.loss)->mean;
    return mean ? 1.0 / double(call_.columns) : 1.0;
  }
  double of_term(const fastloss_term& term) const { return term.factor * of_row(term); }

  void set_divisor() {
    if (divisor_on_device(call_)) {
      walk_.inverse_at = reinterpret_cast<const double*>(scratch_ + layout_.inverse);
      return;
    }
    const bool divides =
        call_.reduction == FASTLOSS_MEAN || call_.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
    const double divisor = divides ? double(call_.rows) * call_.replicas : 1;
    walk_.inverse = divisor == 0 ? 0 : 1 / divisor;
  }

  int start_divisor() {
    if (!divisor_on_device(call_)) return 0;
    Divisor divisor{};
    divisor.pieces = layout_.weights;
    divisor.partials = reinterpret_cast<double*>(scratch_ + layout_.weight_partials);
    divisor.multiplier = double(call_.replicas);
    if (call_.weight_expansion > 1) divisor.multiplier /= double(call_.weight_expansion);
    divisor.inverse = reinterpret_cast<double*>(scratch_ + layout_.inverse);
    return launch_divisor(static_cast<const T*>(call_.weight), divisor, stream_);
  }

  template <class Walk>
  int walk_twice(const Walk& walk) {
    if (!walk_.elements) return 0;
    if (!needs_all_labels(call_)) return walk();
    walk_.guess = reinterpret_cast<Guess*>(scratch_ + layout_.guess);
    if (launch_guess(walk_, stream_) || walk()) return -1;
    walk_.again = true;
    return walk();
  }

  int walk_pieces(bool backward) {
    if (!has_own_kernel(call_, backward)) return launch_any_losses(boxed(), walk_, stream_);
    if constexpr (sizeof(T) == 8)
      return walk_one<8>();
    else
      return prediction_size(call_) == 4 ? walk_one<4>() : walk_one<2>();
  }

  template <int kSize>
  int walk_one() {
    const fastloss_term& term = *call_.terms;
    return find_one_loss<kSize>(term.loss, term.parameters)(term.parameters, of_term(term), walk_,
                                                            stream_);
  }

  int forward_rows(T* loss) {
    if (!call_.rows) return 0;
    if (!call_.columns) {
      // The mean of nothing is NaN, the sum of nothing 0.
      double nothing = 0;
      for (int32_t k = 0; k < call_.term_count; ++k) nothing += 0 * of_term(call_.terms[k]);
      return launch_fill(T(nothing), loss, call_.rows, stream_);
    }
    walk_.rows = rows_of(call_);
    return walk_twice([&] { return launch_row_losses(boxed(), walk_, loss, stream_); });
  }

  BoxedTerms<T> boxed() const {
    BoxedTerms<T> terms{};
    terms.count = call_.term_count;
    for (int32_t k = 0; k < call_.term_count; ++k)
      terms.terms[k] = BoxedTerm<T>(call_.terms[k], of_term(call_.terms[k]));
    return terms;
  }

  const fastloss_elementwise& call_;
  const Scratch layout_;
  char* const scratch_;
  void* const stream_;
  ElementwiseWalk<T> walk_{};
};

int check_terms(const fastloss_elementwise& call) {
  if (call.term_count <= FASTLOSS_CUDA_MAX_TERMS) return 0;
  return fail("term_count is %d; on a GPU one call adds up to %d losses: make several calls",
              call.term_count, FASTLOSS_CUDA_MAX_TERMS);
}

}  // namespace
}  // namespace FASTLOSS_ISA
}  // namespace fastloss

int64_t fastloss_cuda_elementwise_scratch(const fastloss_elementwise* call) {
  using namespace fastloss;
  if (check_elementwise_forward(*call, nullptr, nullptr)) return -1;
  if (cuda::check_terms(*call)) return -1;
  return cuda::Scratch(*call).bytes;
}

int fastloss_cuda_elementwise_forward(const fastloss_elementwise* call, void* loss,
                                      void* term_values, void* gradient, void* scratch,
                                      void* stream) {
  using namespace fastloss;
  if (check_elementwise_forward(*call, term_values, gradient)) return -1;
  if (cuda::check_terms(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .forward(static_cast<double*>(loss), static_cast<double*>(term_values), gradient);
  return cuda::Driver<float>(*call, scratch, stream)
      .forward(static_cast<float*>(loss), static_cast<float*>(term_values), gradient);
}

int fastloss_cuda_elementwise_backward(const fastloss_elementwise* call, const void* upstream,
                                       void* gradient, void* scratch, void* stream) {
  using namespace fastloss;
  if (check_elementwise_backward(*call, gradient)) return -1;
  if (cuda::check_terms(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .backward(static_cast<const double*>(upstream), gradient);
  return cuda::Driver<float>(*call, scratch, stream)
      .backward(static_cast<const float*>(upstream), gradient);
}
