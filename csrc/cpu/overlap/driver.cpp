// The driver of the overlap losses: a pass over memory for the sums, the losses of the groups, and
// a pass for the gradient.
#include "api/error.h"
#include "cpu/kernels/isa.h"
#include "cpu/overlap/contiguous.h"
#include "cpu/overlap/interleaved.h"
#include "cpu/runtime/labels.h"

namespace fastloss {
namespace {

template <class T, class Strategy>
class OverlapDriver {
 public:
  OverlapDriver(const OverlapPlan<T>& plan, Strategy* strategy)
      : plan_(plan), strategy_(*strategy) {}

  int forward(T* loss, T* term_values, void* gradient) const {
    const TensorSums sums = sum();
    const GroupLosses<T> groups(plan_, sums);
    const bool each = plan_.call.reduction == FASTLOSS_NONE;
    const double total = groups.reduce(each ? loss : nullptr, term_values);
    if (!each) *loss = T(total);
    if (gradient) differentiate(groups.derivatives(nullptr), gradient);
    return report(sums.bad_position);
  }

  int backward(const T* upstream, void* gradient) const {
    const TensorSums sums = sum();
    differentiate(GroupLosses<T>(plan_, sums).derivatives(upstream), gradient);
    return report(sums.bad_position);
  }

 private:
  TensorSums sum() const {
    const int64_t fused_terms = int64_t(plan_.fused_terms.size());
    PartialSums partial(plan_.layout, fused_terms);
    for_each_chunk(plan_.call, plan_.layout, false, [&](const OverlapChunk& chunk) {
      ChunkSums sums(plan_.layout.columns, fused_terms);
      strategy_.sum(chunk, &sums);
      partial.put(chunk, sums);
    });
    return partial.total();
  }

  void differentiate(const LossDerivatives<T>& loss, void* gradient) const {
    const bool stream = gradient != plan_.call.y_pred &&
                        plan_.layout.elements() * plan_.prediction.size >= kStreamBytes;
    for_each_chunk(plan_.call, plan_.layout, stream, [&](const OverlapChunk& chunk) {
      strategy_.differentiate(chunk, loss, static_cast<char*>(gradient), stream);
    });
  }

  int report(int64_t bad_position) const {
    if (bad_position == kNoPosition) return 0;
    const fastloss_overlap& call = plan_.call;
    int64_t label;
    read_labels(call.y_true_dtype, call.y_true, bad_position, 1, &label);
    return fail(
        "%s: the label of position %lld is %lld; expected 0 to %lld, as y_pred has %lld classes%s",
        call.loss, static_cast<long long>(bad_position), static_cast<long long>(label),
        static_cast<long long>(call.classes - 1), static_cast<long long>(call.classes),
        call.has_ignore_class ? ", or ignore_class" : "");
  }

  const OverlapPlan<T>& plan_;
  Strategy& strategy_;
};

// Calls run(driver) with the strategy that the call asks for.
template <class T, class Run>
int with_driver(const fastloss_overlap& call, bool gradient_follows, const Run& run) {
  const OverlapPlan<T> plan(call, isa());
  if (plan.layout.interleaved) {
    InterleavedStrategy<T> strategy(plan);
    return run(OverlapDriver<T, InterleavedStrategy<T>>(plan, &strategy));
  }
  ContiguousStrategy<T> strategy(plan, gradient_follows);
  return run(OverlapDriver<T, ContiguousStrategy<T>>(plan, &strategy));
}

template <class T>
int forward(const fastloss_overlap& call, void* loss, void* term_values, void* gradient) {
  return with_driver<T>(call, gradient != nullptr, [&](const auto& driver) {
    return driver.forward(static_cast<T*>(loss), static_cast<T*>(term_values), gradient);
  });
}

template <class T>
int backward(const fastloss_overlap& call, const void* upstream, void* gradient) {
  return with_driver<T>(call, true, [&](const auto& driver) {
    return driver.backward(static_cast<const T*>(upstream), gradient);
  });
}

}  // namespace
}  // namespace fastloss

int fastloss_overlap_forward(const fastloss_overlap* call, void* loss, void* term_values,
                             void* gradient) {
  using namespace fastloss;
  if (check_overlap_forward(*call, gradient)) return -1;
  const bool wide = call->y_pred_dtype == FASTLOSS_FLOAT64;
  return (wide ? forward<double> : forward<float>)(*call, loss, term_values, gradient);
}

int fastloss_overlap_backward(const fastloss_overlap* call, const void* upstream, void* gradient) {
  using namespace fastloss;
  if (check_overlap_backward(*call)) return -1;
  const bool wide = call->y_pred_dtype == FASTLOSS_FLOAT64;
  return (wide ? backward<double> : backward<float>)(*call, upstream, gradient);
}
