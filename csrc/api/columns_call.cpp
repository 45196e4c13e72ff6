#include "api/columns_call.h"

#include "api/elementwise_call.h"

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
  if (check_codes(call)) return -1;
  if (call.rows < 0 || call.replicas < 1)
    return fail("rows %lld must not be negative and replicas %d must be positive",
                static_cast<long long>(call.rows), call.replicas);
  if (call.reduction == FASTLOSS_NONE)
    return fail("losses of columns have no loss per row; expected a reduction to a scalar");
  return 0;
}

}  // namespace fastloss
