/* Calls that are refused whatever their loss: sizes that cannot be counted, weights of nothing. */
#include <stdio.h>
#include <string.h>

#include "api/fastloss.h"

static int checks = 0, failures = 0;

static void check(int is_true, const char* what) {
  ++checks;
  if (is_true) return;
  ++failures;
  printf("FAILED: %s (last error: %s)\n", what, fastloss_error());
}

static const int64_t kHuge = (int64_t)1 << 40;
static const char kTooLarge[] = "must not be above 2^58, but they are: ";
static const double kParameters[] = {1e-7, 1e-7};
static float data[4], loss, gradient[4], upstream;

/* Every struct of a call has these. */
#define FILL(CALL)                                              \
  (CALL).reduction = FASTLOSS_SUM;                              \
  (CALL).replicas = 1;                                          \
  (CALL).y_true_dtype = (CALL).y_pred_dtype = FASTLOSS_FLOAT32; \
  (CALL).y_true = (CALL).y_pred = data;

static void check_refused(int forward, int backward, const char* sizes) {
  char sentence[128];
  snprintf(sentence, sizeof sentence, "%s%s", kTooLarge, sizes);
  check(forward == -1 && backward == -1, sizes);
  check(strstr(fastloss_error(), sentence) != NULL, sentence);
}

static void check_elementwise(void) {
  const fastloss_term term = {"mean_squared_error", NULL, 0, 1};
  fastloss_elementwise call = {0};
  FILL(call)
  call.terms = &term;
  call.term_count = 1;
  call.rows = call.columns = 2;
  check(!fastloss_elementwise_forward(&call, &loss, NULL, gradient), "a good call");
  call.weight = data;
  call.weight_count = 2;
  check(fastloss_elementwise_forward(&call, &loss, NULL, gradient) == -1, "a repeat of 0");
  check(strstr(fastloss_error(), "weight_repeat is 0") != NULL, "the error names it");
  call.rows = 0;
  check(!fastloss_elementwise_forward(&call, &loss, NULL, gradient), "a repeat of no rows");
  call.weight = NULL;
  call.rows = -1;
  check(fastloss_elementwise_forward(&call, &loss, NULL, gradient) == -1, "negative rows");
  check(strstr(fastloss_error(), "must not be negative, but they are: rows -1, columns 2") != NULL,
        "the error names them");
  call.rows = call.columns = kHuge;
  check_refused(fastloss_elementwise_forward(&call, &loss, NULL, gradient),
                fastloss_elementwise_backward(&call, &upstream, gradient),
                "rows 1099511627776, columns 1099511627776");
  call.columns = 0;
  check(!fastloss_elementwise_forward(&call, &loss, NULL, gradient), "no columns of many rows");
}

static void check_columns(void) {
  const fastloss_task task = {{"mean_squared_error", NULL, 0, 1}, 0, 0, 1};
  fastloss_columns call = {0};
  FILL(call)
  call.tasks = &task;
  call.task_count = 1;
  call.rows = call.true_columns = kHuge;
  call.pred_columns = 1;
  check_refused(fastloss_columns_forward(&call, &loss, NULL, gradient),
                fastloss_columns_backward(&call, &upstream, gradient),
                "rows 1099511627776, true_columns 1099511627776");
  call.true_columns = 1;
  call.pred_columns = kHuge;
  check_refused(fastloss_columns_forward(&call, &loss, NULL, gradient),
                fastloss_columns_backward(&call, &upstream, gradient),
                "rows 1099511627776, pred_columns 1099511627776");
}

static void check_boxes(void) {
  fastloss_boxes call = {0};
  FILL(call)
  call.loss = "box_iou";
  call.parameters = kParameters;
  call.parameter_count = 1;
  call.boxes = (int64_t)1 << 57;
  check_refused(fastloss_boxes_forward(&call, &loss, gradient),
                fastloss_boxes_backward(&call, &upstream, gradient), "boxes 144115188075855872");
}

static void check_rowwise(void) {
  fastloss_rowwise call = {0};
  FILL(call)
  call.loss = "cosine_similarity";
  call.parameters = kParameters;
  call.parameter_count = 1;
  call.temperature = 1;
  call.outer = call.inner = kHuge;
  call.classes = 1;
  check_refused(fastloss_rowwise_forward(&call, &loss, gradient, NULL, NULL),
                fastloss_rowwise_backward(&call, &upstream, gradient),
                "outer 1099511627776, classes 1, inner 1099511627776");
  call.classes = 0;
  check_refused(fastloss_rowwise_forward(&call, &loss, gradient, NULL, NULL),
                fastloss_rowwise_backward(&call, &upstream, gradient),
                "outer 1099511627776, classes 0, inner 1099511627776");
}

static void check_overlap(void) {
  fastloss_overlap call = {0};
  FILL(call)
  call.loss = "dice";
  call.parameters = kParameters;
  call.parameter_count = 2;
  call.factor = 1;
  call.outer = call.classes = 1;
  call.above = call.inner = kHuge;
  check_refused(fastloss_overlap_forward(&call, &loss, NULL, gradient),
                fastloss_overlap_backward(&call, &upstream, gradient),
                "outer 1, above 1099511627776, classes 1, inner 1099511627776");
}

static void check_arrays(void) {
  upstream = 1;
  check(fastloss_scale(FASTLOSS_FLOAT32, -1, data, &upstream, gradient, NULL, NULL) == -1,
        "a negative count, scaled");
  check(fastloss_accumulate(FASTLOSS_FLOAT32, -1, data, gradient, NULL, NULL) == -1,
        "a negative count, accumulated");
  check(strstr(fastloss_error(), "count is -1") != NULL, "the error names it");
}

int main(void) {
  check_elementwise();
  check_columns();
  check_boxes();
  check_rowwise();
  check_overlap();
  check_arrays();
  printf("%d passed, %d failed\n", checks - failures, failures);
  return failures != 0;
}
