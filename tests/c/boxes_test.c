/* The losses between boxes through the C interface, in buffers of the exact size, as
 * elementwise_test.c. */
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

static size_t size_of(int dtype) {
  switch (dtype) {
    case FASTLOSS_FLOAT64:
    case FASTLOSS_INT64:
      return 8;
    case FASTLOSS_FLOAT32:
    case FASTLOSS_INT32:
      return 4;
    case FASTLOSS_UINT8:
      return 1;
    default:
      return 2;
  }
}

static void put(void* data, int dtype, int64_t i, int x) {
  const float f = (float)x;
  uint32_t bits;
  memcpy(&bits, &f, 4);
  if (dtype == FASTLOSS_FLOAT64) ((double*)data)[i] = x;
  if (dtype == FASTLOSS_FLOAT32) ((float*)data)[i] = f;
  if (dtype == FASTLOSS_BFLOAT16) ((uint16_t*)data)[i] = (uint16_t)(bits >> 16);
  if (dtype == FASTLOSS_FLOAT16)
    ((uint16_t*)data)[i] = x == 0 ? 0 : (uint16_t)((bits >> 13) - ((127 - 15) << 10));
  if (dtype == FASTLOSS_INT64) ((int64_t*)data)[i] = x;
  if (dtype == FASTLOSS_INT32) ((int32_t*)data)[i] = x;
  if (dtype == FASTLOSS_UINT8) ((uint8_t*)data)[i] = (uint8_t)x;
}

/* Corners from 0 to 16 in any order, so that empty and inverted boxes are among them. */
static void* boxes(int dtype, int64_t count) {
  void* data = malloc(count ? 4 * count * size_of(dtype) : 1);
  for (int64_t i = 0; i < 4 * count; ++i) put(data, dtype, i, (int)(uniform() * 17));
  return data;
}

static double at(const void* data, int dtype, int64_t i) {
  return dtype == FASTLOSS_FLOAT64 ? ((const double*)data)[i] : ((const float*)data)[i];
}

static void backwards(void* unused, int64_t pieces, void (*piece)(void*, int64_t), void* work) {
  (void)unused;
  for (int64_t i = pieces - 1; i >= 0; --i) piece(work, i);
}

static void check_call(fastloss_boxes call) {
  const int dtype = call.y_pred_dtype;
  const int wide = dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
  const size_t bytes = 4 * call.boxes * size_of(dtype), own = call.boxes * size_of(wide);
  void* gradient = malloc(bytes ? bytes : 1);
  void* again = malloc(bytes ? bytes : 1);
  void* losses = malloc(own ? own : 1);
  double loss = 0, other = 0;

  call.reduction = FASTLOSS_SUM;
  check(!fastloss_boxes_forward(&call, &loss, gradient), "forward");
  call.parallel_for = backwards;
  check(!fastloss_boxes_forward(&call, &other, again), "forward in another order");
  check(!memcmp(&loss, &other, size_of(wide)) && !memcmp(gradient, again, bytes),
        "the order of the pieces changes no bit");
  call.parallel_for = NULL;
  for (int threads = 1; threads <= 3; ++threads) {
    fastloss_set_threads(threads);
    check(!fastloss_boxes_forward(&call, &other, NULL), "forward alone");
    check(!memcmp(&loss, &other, size_of(wide)), "threads and the gradient change no bit");
  }

  const double one_wide = 1;
  const float one = 1;
  const void* upstream = wide == FASTLOSS_FLOAT64 ? (const void*)&one_wide : (const void*)&one;
  check(!fastloss_boxes_backward(&call, upstream, again), "backward");
  check(!memcmp(gradient, again, bytes), "backward recomputes the forward's gradient");

  const void* y_pred = call.y_pred;
  memcpy(again, y_pred, bytes);
  call.y_pred = again;
  check(!fastloss_boxes_forward(&call, &other, again), "forward in place");
  check(!memcmp(gradient, again, bytes), "in place gives the same gradient");
  call.y_pred = y_pred;

  call.reduction = FASTLOSS_NONE;
  check(!fastloss_boxes_forward(&call, losses, NULL), "forward by boxes");
  double sum = 0;
  int finite = 1;
  for (int64_t i = 0; i < call.boxes; ++i) {
    sum += at(losses, wide, i);
    finite &= isfinite(at(losses, wide, i)) != 0;
  }
  check(finite, "every loss is finite");
  const double total = at(&loss, wide, 0);
  check(fabs(sum - total) <= 1e-5 * (1 + fabs(total)), "the boxes add up to the sum");

  free(gradient), free(again), free(losses);
}

static const int kPredictions[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                                   FASTLOSS_BFLOAT16};
static const int kLabels[] = {FASTLOSS_FLOAT32, FASTLOSS_INT32, FASTLOSS_FLOAT64, FASTLOSS_UINT8,
                              FASTLOSS_FLOAT16, FASTLOSS_INT64, FASTLOSS_BFLOAT16};
static const int64_t kCounts[] = {0, 1, 3, 4, 31, 32, 33, 1000, 16384, 40001};
static const double kEpsilon = 1e-7;

static void check_loss(const char* entry) {
  static int turn = 0;
  char name[128];
  snprintf(name, sizeof name, "%.*s", (int)strcspn(entry, "("), entry);
  for (size_t p = 0; p < 4; ++p)
    for (size_t n = 0; n < sizeof(kCounts) / sizeof(*kCounts); ++n) {
      const int dtype = kPredictions[p], label = kLabels[turn % 7];
      const int wide = dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
      snprintf(context, sizeof context, "%s, y_true %d, y_pred %d, %lld boxes", name, label, dtype,
               (long long)kCounts[n]);
      fastloss_boxes call = {0};
      call.loss = name;
      call.parameters = &kEpsilon;
      call.parameter_count = 1;
      call.replicas = 1;
      call.y_true_dtype = label;
      call.y_pred_dtype = dtype;
      call.box_format = turn++ % 2 ? FASTLOSS_CENTRE : FASTLOSS_CORNERS;
      call.boxes = kCounts[n];
      void* y_true = boxes(label, call.boxes);
      void* y_pred = boxes(dtype, call.boxes);
      void* weight = boxes(wide, (call.boxes + 3) / 4);
      call.y_true = y_true;
      call.y_pred = y_pred;
      check_call(call);
      call.weight = weight;
      call.weight_count = call.boxes;
      call.weight_repeat = 1;
      check_call(call);
      free(y_true), free(y_pred), free(weight);
    }
}

static void check_values(void) {
  strcpy(context, "values");
  const int32_t y_true[] = {0, 0, 2, 2};
  const float y_pred[] = {1, 1, 3, 3};
  const struct {
    const char* loss;
    double value;
  } kExpected[] = {{"box_iou", 1 - 1.0 / 7},
                   {"generalized_box_iou", 1 - 1.0 / 7 + 2.0 / 9},
                   {"distance_box_iou", 1 - 1.0 / 7 + 2.0 / 18},
                   {"complete_box_iou", 1 - 1.0 / 7 + 2.0 / 18}};
  for (int i = 0; i < 4; ++i) {
    fastloss_boxes call = {0};
    float loss;
    call.loss = kExpected[i].loss;
    call.parameters = &kEpsilon;
    call.parameter_count = 1;
    call.replicas = 1;
    call.y_true_dtype = FASTLOSS_INT32;
    call.y_pred_dtype = FASTLOSS_FLOAT32;
    call.boxes = 1;
    call.y_true = y_true;
    call.y_pred = y_pred;
    check(!fastloss_boxes_forward(&call, &loss, NULL), call.loss);
    check(fabs(loss - kExpected[i].value) < 1e-6, call.loss);
  }
}

static void check_errors(void) {
  strcpy(context, "errors");
  const float y_true[4] = {0, 0, 1, 1};
  float loss, gradient[4];
  fastloss_boxes call = {0};
  call.loss = "box_iou";
  call.parameters = &kEpsilon;
  call.parameter_count = 1;
  call.replicas = 1;
  call.y_true_dtype = call.y_pred_dtype = FASTLOSS_FLOAT32;
  call.boxes = 1;
  call.y_true = call.y_pred = y_true;
  call.reduction = FASTLOSS_SUM;
  check(!fastloss_boxes_forward(&call, &loss, gradient), "a good call");
  call.reduction = FASTLOSS_NONE;
  check(fastloss_boxes_forward(&call, &loss, gradient) == -1, "no gradient of a loss per box");
  call.reduction = 9;
  check(fastloss_boxes_forward(&call, &loss, NULL) == -1, "an unknown reduction");
  call.reduction = FASTLOSS_SUM;
  call.box_format = 2;
  check(fastloss_boxes_forward(&call, &loss, NULL) == -1, "an unknown format");
  check(strstr(fastloss_error(), "box format code 2") != NULL, "the error names it");
  call.box_format = FASTLOSS_CENTRE;
  call.y_pred_dtype = FASTLOSS_INT32;
  check(fastloss_boxes_backward(&call, &loss, gradient) == -1, "predictions of integers");
  call.y_pred_dtype = FASTLOSS_FLOAT32;
  call.y_true_dtype = 8;
  check(fastloss_boxes_backward(&call, &loss, gradient) == -1, "labels that are no numbers");
  call.y_true_dtype = FASTLOSS_FLOAT32;
  call.boxes = -1;
  check(fastloss_boxes_forward(&call, &loss, NULL) == -1, "a negative count");
  call.boxes = 1;
  call.parameter_count = 2;
  check(fastloss_boxes_forward(&call, &loss, NULL) == -1, "too many parameters");
  call.loss = "giou";
  check(fastloss_boxes_forward(&call, &loss, NULL) == -1, "an unknown loss");
  check(
      strstr(fastloss_error(), "'giou' is unknown; the losses between boxes are: box_iou") != NULL,
      "the error names those there are");
}

int main(void) {
  char isas[64], losses[1024];
  strcpy(isas, fastloss_isas());
  for (char* isa = isas; isa; isa = strchr(isa, ' ') ? strchr(isa, ' ') + 1 : NULL) {
    char name[16];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(isa, " "), isa);
    check(!fastloss_set_isa(name), "an instruction set of this CPU");
    snprintf(losses, sizeof losses, "%s", fastloss_box_losses());
    for (char* loss = strtok(losses, " "); loss; loss = strtok(NULL, " ")) check_loss(loss);
    check_values();
  }
  check_errors();
  printf("%d passed, %d failed\n", checks - failures, failures);
  return failures != 0;
}
