// The driver of the elementwise pattern on a GPU: the kernels that a call starts, and the scratch
// through which they pass on their results.
#include "api/elementwise_call.h"
#include "api/error.h"
#include "api/fastloss_cuda.h"
#include "cuda/common/summary.h"
#include "cuda/elementwise/guess.h"
#include "cuda/elementwise/multi_term.h"
#include "cuda/elementwise/single_term.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

int64_t prediction_size(const fastloss_elementwise& call) { return dtype_size(call.y_pred_dtype); }

// A single loss with a scalar reduction has kernels of its own.
bool has_own_kernel(const fastloss_elementwise& call, bool backward) {
  return call.term_count == 1 && (backward || call.reduction != FASTLOSS_NONE);
}

int64_t tile_of(const fastloss_elementwise& call, bool backward) {
  const int64_t size = prediction_size(call);
  if (has_own_kernel(call, backward))
    return size == 2   ? SingleTermTile<2>::kElements
           : size == 4 ? SingleTermTile<4>::kElements
                       : SingleTermTile<8>::kElements;
  return size == 8 ? MultiTermTile<double>::kElements : MultiTermTile<float>::kElements;
}

Rows rows_of(const fastloss_elementwise& call) {
  if (call.reduction != FASTLOSS_NONE || !call.rows || !call.columns) return Rows();
  return prediction_size(call) == 8
             ? Rows(call.rows, call.columns, MultiTermTile<double>::kElements,
                    MultiTermTile<double>::kWidth)
             : Rows(call.rows, call.columns, MultiTermTile<float>::kElements,
                    MultiTermTile<float>::kWidth);
}

// Offsets into a call's scratch.
struct Scratch {
  int64_t guess = 0;
  DivisorScratch divisor;
  int64_t partials, bytes;

  explicit Scratch(const fastloss_elementwise& call)
      : divisor(DivisorScratch::of_weights(call, sizeof(Guess))), partials(divisor.end) {
    const Rows rows = rows_of(call);
    const int64_t sums =
        call.reduction != FASTLOSS_NONE
            ? call.term_count * Pieces(call.rows * call.columns, tile_of(call, false)).count
        : rows.rows_of_tile ? 0
                            : rows.work_items;
    bytes = partials + sums * int64_t(sizeof(double));
  }
};

template <class T>
class Driver {
 public:
  Driver(const fastloss_elementwise& call, void* scratch, void* stream)
      : call_(call), layout_(call), scratch_(static_cast<char*>(scratch)), stream_(stream) {
    pass_.elements = call.rows * call.columns;
    pass_.y_true_dtype = call.y_true_dtype;
    pass_.y_true_size = int32_t(dtype_size(call.y_true_dtype));
    pass_.y_pred_dtype = call.y_pred_dtype;
    pass_.y_pred_size = int32_t(prediction_size(call));
    pass_.y_true = call.y_true;
    pass_.y_pred = call.y_pred;
    if (call.weight && call.columns)
      pass_.weight =
          BroadcastWeights<T>(call.weight, call.weight_count, call.weight_repeat * call.columns);
    if (call.column_weight)
      pass_.column = BroadcastWeights<T>(call.column_weight, call.column_weight_count, 1);
    pass_.inverse = inverse_of(call, double(call.rows), layout_.divisor, scratch_);
  }

  int forward(T* loss, T* term_values, void* gradient) {
    pass_.gradient = gradient;
    pass_.partials = reinterpret_cast<double*>(scratch_ + layout_.partials);
    if (call_.reduction == FASTLOSS_NONE) return forward_rows(loss);
    pass_.pieces = Pieces(pass_.elements, tile_of(call_, false));
    if (start_divisor() || start_passes([&] { return start_pieces(false); })) return -1;
    Summary<T> summary{};
    summary.count = call_.term_count;
    summary.pieces = pass_.pieces.count;
    summary.partials = pass_.partials;
    summary.inverse = pass_.inverse;
    summary.empty = !call_.rows;
    for (int32_t k = 0; k < call_.term_count; ++k) {
      summary.term_scale[k] = row_scale(call_.terms[k]);
      summary.loss_scale[k] = term_scale(call_.terms[k]);
    }
    summary.loss = loss;
    summary.term_values = term_values;
    return launch_summary(summary, stream_);
  }

  int backward(const T* upstream, void* gradient) {
    if (!pass_.elements) return 0;
    pass_.gradient = gradient;
    if (call_.reduction == FASTLOSS_NONE)
      pass_.upstream_of_row = BroadcastWeights<T>(upstream, call_.rows, call_.columns);
    else
      pass_.upstream = upstream;
    pass_.pieces = Pieces(pass_.elements, tile_of(call_, true));
    if (start_divisor()) return -1;
    return start_passes([&] { return start_pieces(true); });
  }

 private:
  int start_divisor() {
    return fastloss::FASTLOSS_ISA::start_divisor<T>(call_, layout_.divisor, scratch_, stream_);
  }

  // What the sum over elements is multiplied by to get the sum over rows.
  double row_scale(const fastloss_term& term) const {
    const bool mean = find_loss(kElementwiseLosses, term.loss)->mean;
    return mean ? 1.0 / double(call_.columns) : 1.0;
  }
  double term_scale(const fastloss_term& term) const { return term.factor * row_scale(term); }

  // Calls start_pass once, or twice where the first pass rests on a guess.
  template <class StartPass>
  int start_passes(const StartPass& start_pass) {
    if (!pass_.elements) return 0;
    if (!needs_all_labels(call_)) return start_pass();
    pass_.guess = reinterpret_cast<Guess*>(scratch_ + layout_.guess);
    if (launch_guess(pass_, stream_) || start_pass()) return -1;
    pass_.corrects = true;
    return start_pass();
  }

  int start_pieces(bool backward) {
    if (!has_own_kernel(call_, backward)) return launch_multi_term(tagged_terms(), pass_, stream_);
    if constexpr (sizeof(T) == 8)
      return start_single_term<8>();
    else
      return prediction_size(call_) == 4 ? start_single_term<4>() : start_single_term<2>();
  }

  template <int kSize>
  int start_single_term() {
    const fastloss_term& term = *call_.terms;
    return find_single_term<kSize>(term.loss, term.parameters)(term.parameters, term_scale(term),
                                                               pass_, stream_);
  }

  int forward_rows(T* loss) {
    if (!call_.rows) return 0;
    if (!call_.columns) {
      // The mean over no columns is NaN, the sum 0.
      double nothing = 0;
      for (int32_t k = 0; k < call_.term_count; ++k) nothing += 0 * term_scale(call_.terms[k]);
      return launch_fill(T(nothing), loss, call_.rows, stream_);
    }
    pass_.rows = rows_of(call_);
    return start_passes(
        [&] { return launch_multi_term_rows(tagged_terms(), pass_, loss, stream_); });
  }

  TaggedTerms<T> tagged_terms() const {
    TaggedTerms<T> terms{};
    terms.count = call_.term_count;
    for (int32_t k = 0; k < call_.term_count; ++k)
      terms.terms[k] = TaggedTerm<T>(call_.terms[k], term_scale(call_.terms[k]));
    return terms;
  }

  const fastloss_elementwise& call_;
  const Scratch layout_;
  char* const scratch_;
  void* const stream_;
  ElementwisePass<T> pass_{};
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
