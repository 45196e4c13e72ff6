#include "api/columns_call.h"

#include "api/elementwise_call.h"

namespace fastloss {
namespace {

int check_range(const char* matrix, int64_t first, const fastloss_task& task, int64_t columns) {
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
    if (check_elementwise(task.term) ||
        check_range("y_true", task.first_true, task, call.true_columns) ||
        check_range("y_pred", task.first_pred, task, call.pred_columns))
      return -1;
    if (find_loss(kElementwiseLosses, task.term.loss)->needs_all_labels)
      return fail(
          "loss '%s' reads all labels before it starts, so it cannot be computed row by row with "
          "others",
          task.term.loss);
  }
  if (checked_product({{"rows", call.rows}, {"true_columns", call.true_columns}}) < 0 ||
      checked_product({{"rows", call.rows}, {"pred_columns", call.pred_columns}}) < 0 ||
      check_common(call, call.rows))
    return -1;
  if (call.reduction == FASTLOSS_NONE)
    return fail("losses of columns have no loss per row; expected a reduction to a scalar");
  return 0;
}

}  // namespace fastloss
