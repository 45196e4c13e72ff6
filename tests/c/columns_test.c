/* Losses of ranges of columns through the C interface, in buffers of the exact size, against a call
 * for each task on columns that were cut out. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/fastloss.h"

enum { kTasks = 3 };

static int failures = 0, checks = 0;
static char context[128];

static void check(int holds, const char* what) {
  ++checks;
  if (holds) return;
  ++failures;
  printf("FAILED: %s [%s] %s\n", what, context, fastloss_error());
}

static uint32_t state = 1;
static float uniform(void) {
  state = state * 1664525u + 1013904223u;
  return (float)((state >> 8) / 16777216.0);
}

static float* numbers(int64_t count) {
  float* const data = malloc(count * sizeof(float) + 1);
  for (int64_t i = 0; i < count; ++i) data[i] = 0.05f + 0.9f * uniform();
  return data;
}

static float* cut(const float* from, int64_t rows, int64_t width, int64_t first, int64_t columns) {
  float* const data = malloc(rows * columns * sizeof(float) + 1);
  for (int64_t row = 0; row < rows; ++row)
    memcpy(data + row * columns, from + row * width + first, columns * sizeof(float));
  return data;
}

/* Adds a task's gradient to its columns of `gradient`; returns its value without the factor. */
static double alone(const fastloss_columns* call, const fastloss_task* task, double factor,
                    double* gradient) {
  float* const y_true =
      cut(call->y_true, call->rows, call->true_columns, task->first_true, task->columns);
  float* const y_pred =
      cut(call->y_pred, call->rows, call->pred_columns, task->first_pred, task->columns);
  float* const slope = cut(y_pred, call->rows, task->columns, 0, task->columns);
  fastloss_term term = task->term;
  term.factor = 1;
  fastloss_elementwise one = {0};
  one.terms = &term;
  one.term_count = 1;
  one.reduction = call->reduction;
  one.replicas = call->replicas;
  one.y_true_dtype = call->y_true_dtype;
  one.y_pred_dtype = call->y_pred_dtype;
  one.rows = call->rows;
  one.columns = task->columns;
  one.y_true = y_true;
  one.y_pred = y_pred;
  one.weight = call->weight;
  one.weight_count = call->weight_count;
  one.weight_repeat = call->weight_repeat;
  float value = NAN;
  check(!fastloss_elementwise_forward(&one, &value, NULL, slope), "task alone");
  for (int64_t row = 0; row < call->rows; ++row)
    for (int64_t c = 0; c < task->columns; ++c)
      gradient[row * call->pred_columns + task->first_pred + c] +=
          factor * slope[row * task->columns + c];
  free(y_true);
  free(y_pred);
  free(slope);
  return value;
}

static double factor_of(const fastloss_columns* call, int task) {
  const double other = call->factor ? ((const float*)call->factor)[task] : 1;
  return call->tasks[task].term.factor * other;
}

static void check_call(fastloss_columns call) {
  const int64_t count = call.rows * call.pred_columns;
  float* const gradient = malloc(count * sizeof(float) + 1);
  double* const expected = calloc(count + 1, sizeof(double));
  float value = NAN, values[kTasks], one = 1;
  check(!fastloss_columns_forward(&call, &value, values, gradient), "forward");
  double total = 0, size = 1e-30;
  for (int k = 0; k < call.task_count; ++k) {
    const double own = alone(&call, call.tasks + k, factor_of(&call, k), expected);
    check(fabs(values[k] - own) <= 1e-5 * fabs(own), "value of a task");
    total += factor_of(&call, k) * own;
    size += fabs(factor_of(&call, k) * own);
  }
  check(fabs(value - total) <= 1e-5 * size, "value");
  double largest = 0, error = 0;
  for (int64_t i = 0; i < count; ++i) {
    largest = fmax(largest, fabs(expected[i]));
    error = fmax(error, fabs(gradient[i] - expected[i]));
  }
  check(error <= 1e-5 * largest, "gradient");

  float* const again = malloc(count * sizeof(float) + 1);
  check(!fastloss_columns_backward(&call, &one, again), "backward");
  check(!memcmp(again, gradient, count * sizeof(float)), "backward is the gradient");
  memcpy(again, call.y_pred, count * sizeof(float));
  call.y_pred = again;
  check(!fastloss_columns_forward(&call, &value, NULL, again), "in place");
  check(!memcmp(again, gradient, count * sizeof(float)), "in place is the gradient");
  free(again);
  free(gradient);
  free(expected);
}

int main(void) {
  static const double delta = 0.3, smoothing = 0.1;
  static const float factor[kTasks] = {0.25f, -3, 0};
  static const int64_t sizes[][3] = {{1, 7, 9},   {37, 7, 9},      {0, 7, 9},
                                     {300, 8, 9}, {3, 1300, 1700}, {70000, 7, 9}};
  for (unsigned s = 0; s < sizeof(sizes) / sizeof(*sizes); ++s) {
    const int64_t rows = sizes[s][0], true_columns = sizes[s][1], pred_columns = sizes[s][2];
    const int64_t wide = true_columns - 4;
    const fastloss_task tasks[kTasks] = {
        {{"huber", &delta, 1, 1.5}, 0, 0, 4},
        {{"mean_squared_error", NULL, 0, -0.5}, 4, pred_columns - wide, wide},
        {{"binary_crossentropy_from_logits", &smoothing, 1, 2}, true_columns - 1, 3, 1}};
    float* const y_true = numbers(rows * true_columns);
    float* const y_pred = numbers(rows * pred_columns);
    float* const weight = numbers(rows);
    for (int reduction = FASTLOSS_SUM; reduction <= FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT; ++reduction)
      for (int weighs = 0; weighs < 2; ++weighs) {
        fastloss_columns call = {0};
        call.tasks = tasks;
        call.task_count = kTasks;
        call.reduction = reduction;
        call.replicas = 2;
        call.y_true_dtype = call.y_pred_dtype = FASTLOSS_FLOAT32;
        call.rows = rows;
        call.true_columns = true_columns;
        call.pred_columns = pred_columns;
        call.y_true = y_true;
        call.y_pred = y_pred;
        if (weighs) call.weight = weight, call.weight_count = rows, call.weight_repeat = 1;
        for (int scales = 0; scales < 2; ++scales) {
          if (scales) call.factor = factor;
          snprintf(context, sizeof context, "%lldx%lld reduction %d weights %d factors %d",
                   (long long)rows, (long long)pred_columns, reduction, weighs, scales);
          check_call(call);
        }
      }
    free(y_true);
    free(y_pred);
    free(weight);
  }
  printf("%d checks, %d failures\n", checks, failures);
  return failures != 0;
}
