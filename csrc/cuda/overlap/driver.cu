// The driver of the overlap pattern on a GPU: a pass for the sums of each class, the losses of the
// groups, and a pass for the gradient.
#include "api/error.h"
#include "api/fastloss_cuda.h"
#include "cuda/overlap/groups.h"
#include "cuda/overlap/pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

int64_t first_class(const fastloss_overlap& call) {
  return std::min<int64_t>(call.skip_background, call.classes);
}

int64_t groups_of_image(const fastloss_overlap& call) {
  return call.per_class ? call.classes - first_class(call) : 1;
}

// Offsets into a call's scratch.
struct Scratch {
  OverlapLayout layout;
  Pieces groups;
  DivisorScratch divisor;
  int64_t scales, group_sums, class_weight, sums, derivatives, class_factors, partials, values,
      workspace, bytes;

  Scratch(const fastloss_overlap& call, int64_t wide_size)
      : layout(call, wide_size),
        groups(layout.images * groups_of_image(call), kThreads),
        divisor(DivisorScratch::of_weights(call, 0)) {
    const auto doubles = [](int64_t count) { return count * int64_t(sizeof(double)); };
    const int64_t table = layout.images * layout.classes;
    scales = divisor.end;
    group_sums = scales + doubles(1 + call.fused_term_count);
    class_weight = group_sums + doubles(groups.count);
    sums = class_weight + doubles(call.class_weight ? layout.classes : 0);
    derivatives = sums + doubles(kOverlapSums * table);
    class_factors = derivatives + doubles(3 * table);
    const bool together = find_loss(kOverlapLosses, call.loss)->together;
    partials = class_factors + doubles(together ? table : 0);
    values = partials + doubles(3 * table * layout.pieces);
    workspace = values + doubles(layout.slots * layout.units());
    bytes = workspace + layout.blocks() * layout.workspace_bytes(wide_size);
  }
};

template <class T>
class Driver {
 public:
  Driver(const fastloss_overlap& call, void* scratch, void* stream)
      : call_(call),
        offsets_(call, sizeof(T)),
        scratch_(static_cast<char*>(scratch)),
        stream_(stream) {
    set_pass();
    set_groups();
  }

  int forward(T* loss, T* term_values, void* gradient) {
    (call_.reduction == FASTLOSS_NONE ? groups_.losses : groups_.total) = loss;
    groups_.term_values = term_values;
    if (sum()) return -1;
    return gradient ? differentiate(gradient) : 0;
  }

  int backward(const T* upstream, void* gradient) {
    if (!pass_.layout.units()) return 0;
    if (sum()) return -1;
    (call_.reduction == FASTLOSS_NONE ? pass_.upstream_of_group : pass_.upstream) = upstream;
    return differentiate(gradient);
  }

 private:
  double* doubles_at(int64_t offset) const { return reinterpret_cast<double*>(scratch_ + offset); }

  void set_pass() {
    pass_.layout = offsets_.layout;
    pass_.squared = call_.squared;
    pass_.has_ignore_class = call_.has_ignore_class;
    pass_.per_class = call_.per_class;
    pass_.activation = call_.activation;
    pass_.first_class = int32_t(first_class(call_));
    pass_.ignore_class = call_.ignore_class;
    pass_.groups_of_image = groups_of_image(call_);
    pass_.y_true_dtype = call_.y_true_dtype;
    pass_.y_true_size = int32_t(dtype_size(call_.y_true_dtype));
    pass_.y_pred_dtype = call_.y_pred_dtype;
    pass_.y_true = call_.y_true;
    pass_.y_pred = call_.y_pred;
    pass_.workspace = scratch_ + offsets_.workspace;
    pass_.partials = doubles_at(offsets_.partials);
    pass_.values = doubles_at(offsets_.values);
    pass_.derivatives = reinterpret_cast<const GroupLoss*>(scratch_ + offsets_.derivatives);
    pass_.scales = doubles_at(offsets_.scales);
    if (call_.weight)
      pass_.weight = BroadcastWeights<T>(call_.weight, call_.weight_count, call_.weight_repeat);
  }

  void set_groups() {
    const OverlapLayout& layout = offsets_.layout;
    groups_.loss = TaggedOverlapLoss(call_.loss, call_.parameters);
    groups_.together = find_loss(kOverlapLosses, call_.loss)->together;
    groups_.per_class = call_.per_class;
    groups_.images = layout.images;
    groups_.classes = layout.classes;
    groups_.first_class = first_class(call_);
    groups_.groups_of_image = groups_of_image(call_);
    groups_.pieces = layout.pieces;
    groups_.positions = counts_positions(call_) ? -1 : layout.positions;
    groups_.partials = doubles_at(offsets_.partials);
    groups_.sums = reinterpret_cast<OverlapSums*>(scratch_ + offsets_.sums);
    groups_.derivatives = reinterpret_cast<GroupLoss*>(scratch_ + offsets_.derivatives);
    groups_.class_factors = doubles_at(offsets_.class_factors);
    groups_.class_weight = static_cast<const T*>(call_.class_weight);
    groups_.class_weight_double = doubles_at(offsets_.class_weight);
    groups_.weight = pass_.weight;
    groups_.groups = offsets_.groups;
    groups_.group_sums = doubles_at(offsets_.group_sums);
    groups_.fused_terms = call_.fused_term_count;
    groups_.units = layout.units();
    groups_.values = doubles_at(offsets_.values);
    groups_.count =
        by_position(call_) ? -1 : double(call_.outer * call_.above * call_.classes * call_.inner);
    groups_.mean = call_.reduction != FASTLOSS_SUM;
    groups_.replicas = call_.replicas;
    groups_.factor = call_.fused_term_count ? call_.factor : 1;
    for (int32_t k = 0; k < call_.fused_term_count; ++k)
      groups_.fused_term_scale[k] = call_.fused_terms[k].factor;
    groups_.inverse =
        inverse_of(call_, double(groups_.groups.elements), offsets_.divisor, scratch_);
    groups_.scales = doubles_at(offsets_.scales);
  }

  int sum() {
    if (start_divisor<T>(call_, offsets_.divisor, scratch_, stream_)) return -1;
    if (pass_.layout.units() && start_pass()) return -1;
    return launch_overlap_groups(groups_, stream_);
  }

  int differentiate(void* gradient) {
    if (!pass_.layout.units()) return 0;
    pass_.gradient = gradient;
    return start_pass();
  }

  int start_pass() const {
    if constexpr (sizeof(T) == 8)
      return launch_overlap_pass<8>(call_, pass_, stream_);
    else
      return call_.y_pred_dtype == FASTLOSS_FLOAT32 ? launch_overlap_pass<4>(call_, pass_, stream_)
                                                    : launch_overlap_pass<2>(call_, pass_, stream_);
  }

  const fastloss_overlap& call_;
  const Scratch offsets_;
  char* const scratch_;
  void* const stream_;
  OverlapPass<T> pass_{};
  OverlapGroups<T> groups_{};
};

int check_size(const fastloss_overlap& call) {
  if (call.fused_term_count > FASTLOSS_CUDA_MAX_TERMS)
    return fail("fused_term_count is %d; on a GPU one call takes up to %d: make several calls",
                call.fused_term_count, FASTLOSS_CUDA_MAX_TERMS);
  if (call.classes > INT32_MAX)
    return fail("classes is %lld; on a GPU there may be up to %d",
                static_cast<long long>(call.classes), INT32_MAX);
  return 0;
}

}  // namespace
}  // namespace FASTLOSS_ISA
}  // namespace fastloss

int64_t fastloss_cuda_overlap_scratch(const fastloss_overlap* call) {
  using namespace fastloss;
  if (check_overlap_backward(*call) || cuda::check_size(*call)) return -1;
  return cuda::Scratch(*call, call->y_pred_dtype == FASTLOSS_FLOAT64 ? 8 : 4).bytes;
}

int fastloss_cuda_overlap_forward(const fastloss_overlap* call, void* loss, void* term_values,
                                  void* gradient, void* scratch, void* stream) {
  using namespace fastloss;
  if (check_overlap_forward(*call, gradient) || cuda::check_size(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .forward(static_cast<double*>(loss), static_cast<double*>(term_values), gradient);
  return cuda::Driver<float>(*call, scratch, stream)
      .forward(static_cast<float*>(loss), static_cast<float*>(term_values), gradient);
}

int fastloss_cuda_overlap_backward(const fastloss_overlap* call, const void* upstream,
                                   void* gradient, void* scratch, void* stream) {
  using namespace fastloss;
  if (check_overlap_backward(*call) || cuda::check_size(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .backward(static_cast<const double*>(upstream), gradient);
  return cuda::Driver<float>(*call, scratch, stream)
      .backward(static_cast<const float*>(upstream), gradient);
}
