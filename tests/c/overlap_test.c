/* The overlap losses through the C interface, in buffers of the exact size, as elementwise_test.c.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/fastloss.h"

static int failures = 0, checks = 0;
static char context[256];

static void check(int holds, const char* what) {
  ++checks;
  if (holds) return;
  ++failures;
  printf("FAILED: %s [%s] %s\n", what, context, fastloss_error());
}

static uint32_t state = 1;
static double uniform(void) {
  state = state * 1664525u + 1013904223u;
  return (state >> 8) / 16777216.0;
}

static int64_t size_of(int dtype) {
  return dtype == FASTLOSS_FLOAT64 ? 8 : dtype == FASTLOSS_FLOAT32 ? 4 : 2;
}

/* 0.25 + k / 64: exact in every float type. */
static void* numbers(int dtype, int64_t count) {
  char* const data = malloc(count ? count * size_of(dtype) : 1);
  for (int64_t i = 0; i < count; ++i) {
    const float f = 0.25f + (float)(int)(uniform() * 32) / 64;
    const double d = f;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint16_t half = (uint16_t)(bits >> 16);
    if (dtype == FASTLOSS_FLOAT16) half = (uint16_t)((bits >> 13) - ((127 - 15) << 10));
    if (dtype == FASTLOSS_FLOAT64)
      memcpy(data + 8 * i, &d, 8);
    else if (dtype == FASTLOSS_FLOAT32)
      memcpy(data + 4 * i, &f, 4);
    else
      memcpy(data + 2 * i, &half, 2);
  }
  return data;
}

static uint8_t* masks(int64_t count, int64_t classes) {
  uint8_t* const data = malloc(count ? count : 1);
  for (int64_t i = 0; i < count; ++i) data[i] = (uint8_t)(uniform() * classes);
  return data;
}

static double at(const void* data, int dtype, int64_t i) {
  return dtype == FASTLOSS_FLOAT64 ? ((const double*)data)[i] : ((const float*)data)[i];
}

static void backwards(void* unused, int64_t pieces, void (*piece)(void*, int64_t), void* work) {
  (void)unused;
  for (int64_t i = pieces - 1; i >= 0; --i) piece(work, i);
}

static void check_call(fastloss_overlap call) {
  const int dtype = call.y_pred_dtype;
  const int wide = dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
  const int64_t count = call.outer * call.above * call.classes * call.inner;
  const int64_t bytes = count * size_of(dtype);
  const int64_t kept = call.classes - (call.skip_background && call.classes > 0);
  const int64_t groups = (call.per_outer ? call.outer : 1) * (call.per_class ? kept : 1);
  void* const gradient = malloc(bytes ? bytes : 1);
  void* const other = malloc(bytes ? bytes : 1);
  char loss[8], again[8];
  void* const values = malloc((1 + call.fused_term_count) * size_of(wide));
  call.reduction = FASTLOSS_SUM;
  check(!fastloss_overlap_forward(&call, loss, values, gradient), "forward");
  check(isfinite(at(loss, wide, 0)), "the loss is finite");
  call.parallel_for = backwards;
  check(!fastloss_overlap_forward(&call, again, NULL, other), "forward, backwards");
  check(!memcmp(gradient, other, bytes) && !memcmp(loss, again, size_of(wide)),
        "any order of the pieces gives the same bits");
  call.parallel_for = NULL;
  void* const kept_prediction = malloc(bytes ? bytes : 1);
  memcpy(kept_prediction, call.y_pred, bytes);
  check(!fastloss_overlap_forward(&call, again, NULL, (void*)call.y_pred), "in place");
  check(!memcmp(gradient, call.y_pred, bytes), "in place the gradient has the same bits");
  memcpy((void*)call.y_pred, kept_prediction, bytes);
  const double one_wide = 1;
  const float one = 1;
  const void* upstream = wide == FASTLOSS_FLOAT64 ? (const void*)&one_wide : (const void*)&one;
  check(!fastloss_overlap_backward(&call, upstream, other), "backward");
  check(!memcmp(gradient, other, bytes), "backward gives the same bits");
  if (!call.fused_term_count) {
    void* const rows = malloc(groups ? groups * size_of(wide) : 1);
    call.reduction = FASTLOSS_NONE;
    check(!fastloss_overlap_forward(&call, rows, NULL, NULL), "a loss for each group");
    double sum = 0;
    for (int64_t i = 0; i < groups; ++i) sum += at(rows, wide, i);
    check(fabs(sum - at(loss, wide, 0)) <= 1e-5 * (1 + fabs(sum)), "their sum is the loss");
    free(rows);
  }
  if (dtype == FASTLOSS_FLOAT64 && count) {
    /* Along a direction, against a difference. */
    double* const x = (double*)call.y_pred;
    double slope = 0, up[1], down[1];
    const double step = 1e-6;
    call.reduction = FASTLOSS_SUM;
    for (int64_t i = 0; i < count; ++i) slope += ((double*)gradient)[i] * sin((double)i);
    for (int64_t i = 0; i < count; ++i) x[i] += step * sin((double)i);
    check(!fastloss_overlap_forward(&call, up, NULL, NULL), "a step up");
    for (int64_t i = 0; i < count; ++i) x[i] -= 2 * step * sin((double)i);
    check(!fastloss_overlap_forward(&call, down, NULL, NULL), "a step down");
    check(fabs((up[0] - down[0]) / (2 * step) - slope) <= 1e-6 * (1 + fabs(slope) + fabs(up[0])),
          "the gradient is that of the loss");
  }
  free(kept_prediction);
  free(values);
  free(gradient);
  free(other);
}

/* Matthews correlation as it is defined, of the positions that have a part in a group. */
struct confusion {
  double true_positive, false_positive, false_negative, true_negative;
};

static void count(struct confusion* c, double label, double prediction) {
  c->true_positive += label * prediction;
  c->false_positive += (1 - label) * prediction;
  c->false_negative += label * (1 - prediction);
  c->true_negative += (1 - label) * (1 - prediction);
}

static double matthews_loss(const struct confusion* c, const double* smooth) {
  const double product =
      (c->true_positive + c->false_positive) * (c->true_positive + c->false_negative) *
      (c->true_negative + c->false_positive) * (c->true_negative + c->false_negative);
  const double correlated =
      c->true_positive * c->true_negative - c->false_positive * c->false_negative;
  return 1 - (correlated + smooth[0]) / (sqrt(fmax(product, 0)) + smooth[1]);
}

/* Of class `c` of a position, which is `ignored` if nothing but ignore_class is its label. */
static double label_of(const fastloss_overlap* call, int64_t position, int64_t c, int* ignored) {
  const int64_t row = position / call->inner, i = position % call->inner;
  if (call->sparse) {
    const int64_t label = ((const uint8_t*)call->y_true)[position];
    *ignored = call->has_ignore_class && label == call->ignore_class;
    return label == c;
  }
  const double* const of_row = (const double*)call->y_true + row * call->classes * call->inner + i;
  *ignored = call->has_ignore_class;
  for (int64_t k = 0; k < call->classes; ++k)
    if (k != call->ignore_class && of_row[k * call->inner] != 0) *ignored = 0;
  return of_row[c * call->inner];
}

static double matthews_of(const fastloss_overlap* call) {
  const int64_t images = call->per_outer ? call->outer : 1;
  const int64_t positions = call->outer * call->above * call->inner / images;
  const double* const y_pred = call->y_pred;
  double total = 0;
  for (int64_t image = 0; image < images; ++image) {
    struct confusion all = {0, 0, 0, 0};
    for (int64_t c = call->skip_background; c < call->classes; ++c) {
      struct confusion one = {0, 0, 0, 0};
      for (int64_t p = image * positions; p < (image + 1) * positions; ++p) {
        int ignored;
        const double label = label_of(call, p, c, &ignored);
        if (ignored) continue;
        const int64_t element =
            (p / call->inner * call->classes + c) * call->inner + p % call->inner;
        count(call->per_class ? &one : &all, label, y_pred[element]);
      }
      if (call->per_class) total += matthews_loss(&one, call->parameters);
    }
    if (!call->per_class) total += matthews_loss(&all, call->parameters);
  }
  return total;
}

static void check_matthews(void) {
  static const int64_t shapes[][4] = {
      {2, 33, 3, 1}, {2, 3, 5, 17}, {3, 1, 1, 65}, {2, 700, 7, 31}, {2, 9000, 4, 1}};
  static const double smooth[] = {0.25, 0.5};
  for (unsigned s = 0; s < sizeof(shapes) / sizeof(*shapes); ++s)
    for (int option = 0; option < 32; ++option) {
      fastloss_overlap call = {0};
      call.loss = "matthews";
      call.parameters = smooth;
      call.parameter_count = 2;
      call.reduction = FASTLOSS_SUM;
      call.replicas = 1;
      call.factor = 1;
      call.outer = shapes[s][0], call.above = shapes[s][1];
      call.classes = shapes[s][2], call.inner = shapes[s][3];
      call.per_outer = option & 1;
      call.per_class = option >> 1 & 1;
      call.sparse = option >> 2 & 1;
      call.skip_background = option >> 3 & 1 && call.classes > 1;
      call.has_ignore_class = option >> 4 & 1;
      call.ignore_class = call.classes - 1;
      call.y_pred_dtype = FASTLOSS_FLOAT64;
      call.y_true_dtype = call.sparse ? FASTLOSS_UINT8 : FASTLOSS_FLOAT64;
      const int64_t positions = call.outer * call.above * call.inner;
      uint8_t* const classes = masks(positions, call.classes);
      double* const rows = calloc(positions * call.classes, sizeof(double));
      for (int64_t p = 0; p < positions; ++p)
        rows[(p / call.inner * call.classes + classes[p]) * call.inner + p % call.inner] = 1;
      call.y_true = call.sparse ? (const void*)classes : (const void*)rows;
      double* const y_pred = numbers(FASTLOSS_FLOAT64, positions * call.classes);
      call.y_pred = y_pred;
      snprintf(context, sizeof context, "matthews by its definition, %lldx%lldx%lldx%lld option %d",
               (long long)call.outer, (long long)call.above, (long long)call.classes,
               (long long)call.inner, option);
      double loss;
      double* const gradient = malloc(positions * call.classes * sizeof(double));
      check(!fastloss_overlap_forward(&call, &loss, NULL, gradient), "forward");
      const double expected = matthews_of(&call);
      check(fabs(loss - expected) <= 1e-11 * (1 + fabs(expected)), "the loss");
      /* A few derivatives, each against a difference of the definition. */
      for (int k = 0; k < 5; ++k) {
        const int64_t element = (int64_t)(uniform() * (double)(positions * call.classes));
        const double x = y_pred[element], step = 1e-3;
        y_pred[element] = x + step;
        const double up = matthews_of(&call);
        y_pred[element] = x - step;
        const double down = matthews_of(&call);
        y_pred[element] = x;
        check(fabs((up - down) / (2 * step) - gradient[element]) <= 1e-7, "a derivative");
      }
      /* Labels and predictions that are constant. */
      for (int k = 0; k < 4; ++k) {
        for (int64_t i = 0; i < positions * call.classes; ++i) {
          y_pred[i] = k & 1;
          rows[i] = k >> 1;
        }
        check(!fastloss_overlap_forward(&call, &loss, NULL, gradient), "forward of constants");
        int finite = isfinite(loss);
        for (int64_t i = 0; i < positions * call.classes; ++i) finite &= isfinite(gradient[i]);
        check(finite, "constants have a finite loss and gradient");
      }
      free(classes);
      free(rows);
      free(y_pred);
      free(gradient);
    }
}

int main(void) {
  static const struct {
    const char* name;
    double parameters[5];
    int32_t count, together;
  } losses[] = {{"dice", {0.25, 0.5}, 2, 0},
                {"tversky", {0.7, 0.3, 0.25, 0.5}, 4, 0},
                {"jaccard", {0.25, 0.5}, 2, 0},
                {"focal_tversky", {0.7, 0.3, 0.75, 0.25, 0.5}, 5, 0},
                {"log_cosh_dice", {0.25, 0.5}, 2, 0},
                {"matthews", {0.25, 0.5}, 2, 0},
                {"generalized_dice", {2, 0.25, 0.5}, 3, 1}};
  static const int64_t shapes[][4] = {{1, 1, 1, 1},  {2, 33, 3, 1},  {2, 3, 5, 17}, {1, 70, 19, 1},
                                      {3, 1, 1, 65}, {0, 2, 3, 1},   {2, 0, 3, 4},  {1, 2, 0, 3},
                                      {1, 9, 65, 2}, {2, 700, 7, 31}};
  static const int dtypes[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_BFLOAT16,
                               FASTLOSS_FLOAT16};
  const double none = 0;
  for (unsigned l = 0; l < sizeof(losses) / sizeof(*losses); ++l)
    for (unsigned s = 0; s < sizeof(shapes) / sizeof(*shapes); ++s)
      for (unsigned d = 0; d < 4; ++d)
        for (int option = 0; option < 48; ++option) {
          if (shapes[s][1] == 700 && option % 7) continue;
          fastloss_overlap call = {0};
          call.loss = losses[l].name;
          call.parameters = losses[l].parameters;
          call.parameter_count = losses[l].count;
          call.replicas = 1;
          call.factor = 1;
          call.y_pred_dtype = dtypes[d];
          call.outer = shapes[s][0], call.above = shapes[s][1];
          call.classes = shapes[s][2], call.inner = shapes[s][3];
          call.activation = option % 3;
          call.sparse = option / 3 % 2;
          call.per_outer = option / 6 % 2;
          call.per_class = option / 12 % 2 && !losses[l].together;
          call.squared = call.skip_background = option / 24 % 2;
          call.has_ignore_class = call.squared && call.sparse;
          call.ignore_class = 1;
          fastloss_term fused_term = {"mean_squared_error", &none, 0, 0.5};
          if (call.activation == FASTLOSS_SOFTMAX)
            fused_term.loss = call.sparse ? "sparse_categorical_crossentropy_from_logits"
                                          : "categorical_crossentropy_from_logits";
          if (option % 5 == 0 && (call.activation == FASTLOSS_SOFTMAX || !call.sparse))
            call.fused_terms = &fused_term, call.fused_term_count = 1;
          snprintf(context, sizeof context, "%s %lldx%lldx%lldx%lld dtype %d option %d", call.loss,
                   (long long)call.outer, (long long)call.above, (long long)call.classes,
                   (long long)call.inner, call.y_pred_dtype, option);
          const int64_t positions = call.outer * call.above * call.inner;
          call.y_true_dtype = call.sparse ? FASTLOSS_UINT8 : call.y_pred_dtype;
          void* const y_true = call.sparse ? (void*)masks(positions, call.classes)
                                           : numbers(call.y_pred_dtype, positions * call.classes);
          void* const y_pred = numbers(call.y_pred_dtype, positions * call.classes);
          call.y_true = y_true;
          call.y_pred = y_pred;
          check_call(call);
          free(y_true);
          free(y_pred);
        }
  check_matthews();
  printf("%d checks, %d failures\n", checks, failures);
  return failures != 0;
}
