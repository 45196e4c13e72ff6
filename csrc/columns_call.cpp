#include "columns_call.h"

#include "elementwise_call.h"
#include "error.h"

namespace fastloss {
namespace {

int check(const char* matrix, int64_t first, const fastloss_task& task, int64_t columns) {
  if (first >= 0 && task.columns >= 0 && first <= columns && task.columns <= columns - first)
    return 0;
  return fail("loss '%s' takes %lld columns from column %lld on, but %s has %lld", task.term.loss,
              static_cast<long long>(task.columns), static_cast<long long>(first), matrix,
              static_cast<long long>(columns));
}

}  // namespace

int check_columns(const fastloss_columns& call) {
  if (call.task_count < 1)
    return fail("task_count is %d; expected at least one loss", call.task_count);
  for (int32_t k = 0; k < call.task_count; ++k) {
    const fastloss_task& task = call.tasks[k];
    if (check_elementwise(task.term) || check("y_true", task.first_true, task, call.true_columns) ||
        check("y_pred", task.first_pred, task, call.pred_columns))
      return -1;
    if (find_loss(kElementwiseLosses, task.term.loss)->binary)
      return fail(
          "loss '%s' reads all labels before it starts, so it has no part in a walk by rows",
          task.term.loss);
  }
  if (!dtype_size(call.y_true_dtype))
    return fail("y_true has dtype code %d; expected a boolean, an integer or a float",
                call.y_true_dtype);
  if (!is_prediction_dtype(call.y_pred_dtype))
    return fail("y_pred has dtype code %d; expected float16, bfloat16, float32 or float64",
                call.y_pred_dtype);
  if (call.rows < 0 || call.replicas < 1)
    return fail("rows %lld must not be negative and replicas %d must be positive",
                static_cast<long long>(call.rows), call.replicas);
  if (call.reduction <= FASTLOSS_NONE || call.reduction > FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT)
    return fail("reduction code %d is none that gives a scalar", call.reduction);
  return 0;
}

}  // namespace fastloss
