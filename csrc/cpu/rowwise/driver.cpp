// The driver of the rowwise pattern: one pass over labels and predictions, in fixed pieces that
// depend on the shape alone. The bits of a row do not depend on other rows.
#include <numeric>
#include <vector>

#include "api/reduction.h"
#include "cpu/rowwise/contiguous.h"
#include "cpu/rowwise/interleaved.h"
#include "cpu/rowwise/label_only.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {
namespace {

template <class T>
class RowwiseDriver {
 public:
  RowwiseDriver(const fastloss_rowwise& call, const Isa& isa) : plan_(call, isa), ignored_(plan_) {}

  // Fails for a label that is no class.
  int forward(T* loss, void* gradient, T* log_sum_exp, uint8_t* hit) const {
    const double factor = reduction_factor();
    const bool per_row = plan_.call.reduction == FASTLOSS_NONE;
    RowTaskReader<T> tasks(plan_, ignored_, T(factor), nullptr);
    const double total = run(outputs(gradient, per_row ? loss : nullptr, log_sum_exp, hit), &tasks);
    if (!per_row) *loss = T(total * factor);
    return tasks.check_labels();
  }

  int backward(const T* upstream, void* gradient) const {
    const T factor = T(reduction_factor());
    const bool per_row = plan_.call.reduction == FASTLOSS_NONE;
    RowTaskReader<T> tasks(plan_, ignored_, per_row ? factor : factor * *upstream,
                           per_row ? upstream : nullptr);
    run(outputs(gradient, nullptr, nullptr, nullptr), &tasks);
    return tasks.check_labels();
  }

 private:
  double reduction_factor() const {
    const fastloss_rowwise& call = plan_.call;
    const bool is_mean = call.reduction != FASTLOSS_NONE && call.reduction != FASTLOSS_SUM;
    double divisor;
    if (is_mean && call.has_ignore_class)
      divisor = call.replicas * (divides_by_weights(call) ? ignored_.weight_of_others()
                                                          : double(ignored_.count_others()));
    else
      divisor = divisor_of<T>(call, plan_.rows);
    return divisor == 0 ? 0 : 1 / divisor;
  }

  RowOutputs<T> outputs(void* gradient, T* loss, T* log_sum_exp, uint8_t* hit) const {
    const int64_t bytes = plan_.rows * plan_.call.classes * plan_.prediction.size;
    const bool stream = gradient && gradient != plan_.call.y_pred && bytes >= kStreamBytes;
    return {static_cast<char*>(gradient), stream, loss, log_sum_exp, hit};
  }

  double run(const RowOutputs<T>& outputs, RowTaskReader<T>* tasks) const {
    const auto run_pass = pass();
    const int64_t per_piece = plan_.rows_per_piece(), pieces = ceil_div(plan_.rows, per_piece);
    std::vector<double> sums(pieces);
    parallel_pieces(plan_.call.parallel_for, plan_.call.parallel_context, pieces, outputs.stream,
                    [&](int64_t piece) {
                      const int64_t begin = piece * per_piece;
                      const int64_t end = std::min(plan_.rows, begin + per_piece);
                      sums[piece] = run_pass(plan_, outputs, begin, end, tasks);
                    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  }

  auto pass() const {
    switch (plan_.strategy) {
      case RowStrategy::label_only:
        return &run_label_only<T>;
      case RowStrategy::contiguous:
        return &run_contiguous<T>;
      case RowStrategy::interleaved:
        break;
    }
    return &run_interleaved<T>;
  }

  const RowwisePlan<T> plan_;
  const IgnoredRows<T> ignored_;
};

}  // namespace
}  // namespace fastloss

int fastloss_rowwise_forward(const fastloss_rowwise* call, void* loss, void* gradient,
                             void* log_sum_exp, uint8_t* hit) {
  using namespace fastloss;
  if (check_rowwise_forward(*call, gradient)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return RowwiseDriver<double>(*call, isa())
        .forward(static_cast<double*>(loss), gradient, static_cast<double*>(log_sum_exp), hit);
  return RowwiseDriver<float>(*call, isa())
      .forward(static_cast<float*>(loss), gradient, static_cast<float*>(log_sum_exp), hit);
}

int fastloss_rowwise_backward(const fastloss_rowwise* call, const void* upstream, void* gradient) {
  using namespace fastloss;
  if (check_rowwise(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return RowwiseDriver<double>(*call, isa())
        .backward(static_cast<const double*>(upstream), gradient);
  return RowwiseDriver<float>(*call, isa()).backward(static_cast<const float*>(upstream), gradient);
}
