// The driver of the overlap pattern on a GPU: a walk for the sums of each class, the losses of the
// groups, and a walk for the gradient.
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

// Where a call's scratch holds what.
struct Scratch {
  OverlapLayout layout;
  Pieces groups;
  InverseScratch inverse;
  int64_t scales, group_sums, class_weight, sums, points, class_factors, partials, values,
      workspace, bytes;

  Scratch(const fastloss_overlap& call, int64_t wide_size)
      : layout(call, wide_size),
        groups(layout.images * groups_of_image(call), kThreads),
        inverse(call, 0) {
    const auto doubles = [](int64_t count) { return count * int64_t(sizeof(double)); };
    const int64_t table = layout.images * layout.classes;
    scales = inverse.end;
    group_sums = scales + doubles(1 + call.fused_term_count);
    class_weight = group_sums + doubles(groups.count);
    sums = class_weight + doubles(call.class_weight ? layout.classes : 0);
    points = sums + doubles(4 * table);
    class_factors = points + doubles(3 * table);
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
        scratch_layout_(call, sizeof(T)),
        scratch_(static_cast<char*>(scratch)),
        stream_(stream) {
    set_walk();
    set_groups();
  }

  int forward(T* loss, T* term_values, void* gradient) {
    (call_.reduction == FASTLOSS_NONE ? groups_.losses : groups_.total) = loss;
    groups_.term_values = term_values;
    if (sum()) return -1;
    return gradient ? differentiate(gradient) : 0;
  }

  int backward(const T* upstream, void* gradient) {
    if (!walk_.layout.units()) return 0;
    if (sum()) return -1;
    (call_.reduction == FASTLOSS_NONE ? walk_.upstream_of_group : walk_.upstream) = upstream;
    return differentiate(gradient);
  }

 private:
  double* doubles_at(int64_t place) const { return reinterpret_cast<double*>(scratch_ + place); }

  void set_walk() {
    walk_.layout = scratch_layout_.layout;
    walk_.squared = call_.squared;
    walk_.has_ignore_class = call_.has_ignore_class;
    walk_.per_class = call_.per_class;
    walk_.activation = call_.activation;
    walk_.first_class = int32_t(first_class(call_));
    walk_.ignore_class = call_.ignore_class;
    walk_.groups_of_image = groups_of_image(call_);
    walk_.y_true_dtype = call_.y_true_dtype;
    walk_.y_true_size = int32_t(dtype_size(call_.y_true_dtype));
    walk_.y_pred_dtype = call_.y_pred_dtype;
    walk_.y_true = call_.y_true;
    walk_.y_pred = call_.y_pred;
    walk_.workspace = scratch_ + scratch_layout_.workspace;
    walk_.partials = doubles_at(scratch_layout_.partials);
    walk_.values = doubles_at(scratch_layout_.values);
    walk_.points = reinterpret_cast<const GroupLoss*>(scratch_ + scratch_layout_.points);
    walk_.scales = doubles_at(scratch_layout_.scales);
    if (call_.weight)
      walk_.weight = Cycle<T>(call_.weight, call_.weight_count, call_.weight_repeat);
  }

  void set_groups() {
    const OverlapLayout& layout = scratch_layout_.layout;
    groups_.loss = BoxedOverlap(call_.loss, call_.parameters);
    groups_.together = find_loss(kOverlapLosses, call_.loss)->together;
    groups_.per_class = call_.per_class;
    groups_.each = call_.reduction == FASTLOSS_NONE;
    groups_.images = layout.images;
    groups_.classes = layout.classes;
    groups_.first_class = first_class(call_);
    groups_.groups_of_image = groups_of_image(call_);
    groups_.pieces = layout.pieces;
    groups_.positions = counts_positions(call_) ? -1 : layout.positions;
    groups_.partials = doubles_at(scratch_layout_.partials);
    groups_.sums = reinterpret_cast<OverlapSums*>(scratch_ + scratch_layout_.sums);
    groups_.points = reinterpret_cast<GroupLoss*>(scratch_ + scratch_layout_.points);
    groups_.class_factors = doubles_at(scratch_layout_.class_factors);
    groups_.class_weight = static_cast<const T*>(call_.class_weight);
    groups_.class_weight_double = doubles_at(scratch_layout_.class_weight);
    groups_.weight = walk_.weight;
    groups_.groups = scratch_layout_.groups;
    groups_.group_sums = doubles_at(scratch_layout_.group_sums);
    groups_.fused_terms = call_.fused_term_count;
    groups_.units = layout.units();
    groups_.values = doubles_at(scratch_layout_.values);
    groups_.count =
        by_position(call_) ? -1 : double(call_.outer * call_.above * call_.classes * call_.inner);
    groups_.mean = call_.reduction != FASTLOSS_SUM;
    groups_.replicas = call_.replicas;
    groups_.factor = call_.fused_term_count ? call_.factor : 1;
    for (int32_t k = 0; k < call_.fused_term_count; ++k)
      groups_.of_fused_term[k] = call_.fused_terms[k].factor;
    groups_.inverse =
        inverse_of(call_, double(groups_.groups.elements), scratch_layout_.inverse, scratch_);
    groups_.scales = doubles_at(scratch_layout_.scales);
  }

  int sum() {
    if (start_inverse<T>(call_, scratch_layout_.inverse, scratch_, stream_)) return -1;
    if (walk_.layout.units() && start_walk()) return -1;
    return launch_overlap_groups(groups_, stream_);
  }

  int differentiate(void* gradient) {
    if (!walk_.layout.units()) return 0;
    walk_.gradient = gradient;
    return start_walk();
  }

  int start_walk() const {
    if constexpr (sizeof(T) == 8)
      return launch_overlap_walk<8>(call_, walk_, stream_);
    else
      return call_.y_pred_dtype == FASTLOSS_FLOAT32 ? launch_overlap_walk<4>(call_, walk_, stream_)
                                                    : launch_overlap_walk<2>(call_, walk_, stream_);
  }

  const fastloss_overlap& call_;
  const Scratch scratch_layout_;
  char* const scratch_;
  void* const stream_;
  OverlapWalk<T> walk_{};
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
