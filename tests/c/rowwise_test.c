/* The rowwise losses through the C interface, in buffers of the exact size, as elementwise_test.c.
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

static void put(void* data, int dtype, int64_t i, double x) {
  const float f = (float)x;
  uint32_t bits;
  memcpy(&bits, &f, 4);
  if (dtype == FASTLOSS_FLOAT64) ((double*)data)[i] = x;
  if (dtype == FASTLOSS_FLOAT32) ((float*)data)[i] = f;
  if (dtype == FASTLOSS_BFLOAT16) ((uint16_t*)data)[i] = (uint16_t)(bits >> 16);
  if (dtype == FASTLOSS_FLOAT16)
    ((uint16_t*)data)[i] = x == 0 ? 0 : (uint16_t)((bits >> 13) - ((127 - 15) << 10));
  if (dtype == FASTLOSS_INT64) ((int64_t*)data)[i] = (int64_t)x;
  if (dtype == FASTLOSS_INT32) ((int32_t*)data)[i] = (int32_t)x;
  if (dtype == FASTLOSS_UINT8) ((uint8_t*)data)[i] = (uint8_t)x;
}

static void* numbers(int dtype, int64_t count) {
  void* data = malloc(count ? count * size_of(dtype) : 1);
  /* 0.25 + k / 64: exact in every float type. */
  for (int64_t i = 0; i < count; ++i) put(data, dtype, i, 0.25 + (int)(uniform() * 32) / 64.0);
  return data;
}

static void* labels(int dtype, int64_t count, int64_t classes) {
  void* data = malloc(count ? count * size_of(dtype) : 1);
  const int64_t most = classes < 256 ? classes : 256;
  for (int64_t i = 0; i < count; ++i) put(data, dtype, i, (int)(uniform() * most));
  return data;
}

static double at(const void* data, int dtype, int64_t i) {
  return dtype == FASTLOSS_FLOAT64 ? ((const double*)data)[i] : ((const float*)data)[i];
}

static void backwards(void* unused, int64_t pieces, void (*piece)(void*, int64_t), void* work) {
  (void)unused;
  for (int64_t i = pieces - 1; i >= 0; --i) piece(work, i);
}

static void check_call(fastloss_rowwise call) {
  const int dtype = call.y_pred_dtype;
  const int wide = dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
  const int64_t rows = call.outer * call.inner;
  const size_t bytes = rows * call.classes * size_of(dtype), own = rows * size_of(wide);
  void* gradient = malloc(bytes ? bytes : 1);
  void* again = malloc(bytes ? bytes : 1);
  void* losses = malloc(own ? own : 1);
  void* log_sum_exp = malloc(own ? own : 1);
  uint8_t* hit = malloc(rows ? rows : 1);
  double loss = 0, other = 0;

  call.reduction = FASTLOSS_SUM;
  check(!fastloss_rowwise_forward(&call, &loss, gradient, log_sum_exp, hit), "forward");
  call.parallel_for = backwards;
  check(!fastloss_rowwise_forward(&call, &other, again, NULL, NULL), "forward in another order");
  check(!memcmp(&loss, &other, size_of(wide)) && !memcmp(gradient, again, bytes),
        "the order of the pieces changes no bit");
  call.parallel_for = NULL;
  for (int threads = 1; threads <= 3; ++threads) {
    fastloss_set_threads(threads);
    check(!fastloss_rowwise_forward(&call, &other, NULL, NULL, NULL), "forward alone");
    check(!memcmp(&loss, &other, size_of(wide)), "threads and the gradient change no bit");
  }

  const double one_wide = 1;
  const float one = 1;
  const void* upstream = wide == FASTLOSS_FLOAT64 ? (const void*)&one_wide : (const void*)&one;
  check(!fastloss_rowwise_backward(&call, upstream, again), "backward");
  check(!memcmp(gradient, again, bytes), "backward recomputes the forward's gradient");

  const void* y_pred = call.y_pred;
  memcpy(again, y_pred, bytes);
  call.y_pred = again;
  check(!fastloss_rowwise_forward(&call, &other, again, log_sum_exp, hit), "forward in place");
  check(!memcmp(gradient, again, bytes), "in place gives the same gradient");
  call.y_pred = y_pred;

  call.reduction = FASTLOSS_NONE;
  check(!fastloss_rowwise_forward(&call, losses, NULL, NULL, NULL), "forward by rows");
  double sum = 0;
  for (int64_t row = 0; row < rows; ++row) sum += at(losses, wide, row);
  const double total = at(&loss, wide, 0);
  check(fabs(sum - total) <= 1e-5 * (1 + fabs(total)), "the rows add up to the sum");

  free(gradient), free(again), free(losses), free(log_sum_exp), free(hit);
}

/* The parameters of a loss by their names, "(alpha,gamma)". */
static int parameters_of(const char* names, double* values) {
  int count = 0;
  for (const char* name = strchr(names, '('); name && name[1] != ')';
       name = strchr(name + 1, ',')) {
    const char first = name[1];
    values[count++] = first == 'e' ? 1e-7 : first == 'g' ? 1.5 : 0.3;
  }
  return count;
}

static const int kPredictions[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                                   FASTLOSS_BFLOAT16};
static const int kRows[] = {FASTLOSS_FLOAT32, FASTLOSS_BFLOAT16, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                            FASTLOSS_UINT8};
static const int kClasses[] = {FASTLOSS_INT32, FASTLOSS_UINT8, FASTLOSS_INT64, FASTLOSS_FLOAT32};
static const int64_t kShapes[][3] = {{0, 3, 1},    {1, 1, 1},     {7, 5, 1}, {33, 95, 1},
                                     {3, 97, 1},   {5, 2049, 1},  {2, 5, 7}, {3, 100, 33},
                                     {1, 4099, 2}, {1, 524300, 1}};

static void check_loss(const char* entry) {
  static int turn = 0;
  char name[128];
  double parameters[4];
  snprintf(name, sizeof name, "%.*s", (int)strcspn(entry, "("), entry);
  const int count = parameters_of(entry, parameters), sparse = strstr(entry, ":sparse") != NULL;
  for (size_t p = 0; p < 4; ++p)
    for (size_t s = 0; s < sizeof(kShapes) / sizeof(*kShapes); ++s) {
      const int64_t outer = kShapes[s][0], classes = kShapes[s][1], inner = kShapes[s][2];
      if (classes > 500000 && p != 0) continue;
      const int dtype = kPredictions[p], label = sparse ? kClasses[turn % 4] : kRows[turn % 5];
      const int wide = dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
      const int64_t rows = outer * inner;
      ++turn;
      snprintf(context, sizeof context, "%s, y_true %d, y_pred %d, (%lld, %lld, %lld)", name, label,
               dtype, (long long)outer, (long long)classes, (long long)inner);
      fastloss_rowwise call = {0};
      call.loss = name;
      call.parameters = parameters;
      call.parameter_count = count;
      call.replicas = 1;
      call.y_true_dtype = label;
      call.y_pred_dtype = dtype;
      call.outer = outer, call.classes = classes, call.inner = inner;
      call.temperature = 1;
      void* y_true = sparse ? labels(label, rows, classes) : labels(label, rows * classes, 2);
      void* y_pred = numbers(dtype, rows * classes);
      void* weight = numbers(wide, rows);
      void* class_weight = numbers(wide, classes);
      call.y_true = y_true;
      call.y_pred = y_pred;
      check_call(call);
      if (!strstr(name, "divergence")) {
        call.class_weight = class_weight;
        call.label_smoothing = strstr(name, "generalized") ? 0 : 0.1;
      }
      call.weight = weight;
      call.weight_count = rows;
      call.weight_repeat = 1;
      if (strstr(name, "from_logits")) {
        call.temperature = 2;
        call.logit_softcap = 3;
        call.z_loss = 0.01;
      }
      call.has_ignore_class = sparse || !strstr(name, "divergence");
      check_call(call);
      free(y_true), free(y_pred), free(weight), free(class_weight);
    }
}

static void check_errors(void) {
  strcpy(context, "errors");
  const int32_t y_true[] = {0, 1, 7, -3};
  const float y_pred[12] = {0};
  float loss, losses[4], gradient[12];
  fastloss_rowwise call = {0};
  call.loss = "sparse_categorical_crossentropy_from_logits";
  call.replicas = 1;
  call.y_true_dtype = FASTLOSS_INT32;
  call.y_pred_dtype = FASTLOSS_FLOAT32;
  call.outer = 2, call.classes = 3, call.inner = 1;
  call.temperature = 1;
  call.y_true = y_true;
  call.y_pred = y_pred;
  call.reduction = FASTLOSS_SUM;
  check(!fastloss_rowwise_forward(&call, &loss, gradient, NULL, NULL), "a good call");
  call.outer = 4;
  check(fastloss_rowwise_forward(&call, &loss, gradient, NULL, NULL) == -1, "an unknown class");
  check(strstr(fastloss_error(), "the label of row 2 is 7; expected 0 to 2") != NULL,
        "the error names the first");
  call.reduction = FASTLOSS_NONE;
  check(fastloss_rowwise_backward(&call, losses, gradient) == -1, "an unknown class, backward");
  call.has_ignore_class = 1;
  call.ignore_class = 7;
  check(fastloss_rowwise_forward(&call, losses, NULL, NULL, NULL) == -1, "another is ignored");
  check(strstr(fastloss_error(), "row 3 is -3; expected 0 to 2") != NULL, "the error names it");
  check(strstr(fastloss_error(), "or ignore_class") != NULL, "the error knows of ignore_class");
  call.outer = 3;
  check(!fastloss_rowwise_forward(&call, losses, NULL, NULL, NULL), "an ignored row");
  check(losses[2] == 0, "has no loss");
  check(fastloss_rowwise_forward(&call, losses, gradient, NULL, NULL) == -1,
        "no gradient of a loss per row");
  call.temperature = 0;
  check(fastloss_rowwise_forward(&call, losses, NULL, NULL, NULL) == -1, "no temperature");
  call.temperature = 1;
  call.loss = "categorical_generalized_cross_entropy";
  check(fastloss_rowwise_forward(&call, losses, NULL, NULL, NULL) == -1, "too few parameters");
  call.loss = "sparse_crossentropy";
  check(fastloss_rowwise_forward(&call, losses, NULL, NULL, NULL) == -1, "an unknown loss");
  check(strstr(fastloss_error(), "sparse_crossentropy") != NULL, "the error names it");
}

/* Rows of no whole number of cache lines in a gradient that is written past the caches, at every
 * place in a line: what the in-place gradient has, which is not, and nothing beside it. */
static void check_past_caches(void) {
  enum { kRowCount = 4300, kClassCount = 1003, kBytes = kRowCount * kClassCount * 4 };
  float* const logits = numbers(FASTLOSS_FLOAT32, kRowCount * kClassCount);
  int32_t* const label = labels(FASTLOSS_INT32, kRowCount, kClassCount);
  for (int row = 0; row < kRowCount; row += 11) label[row] = -1;
  float* const expected = malloc(kBytes);
  memcpy(expected, logits, kBytes);
  float loss, again;
  fastloss_rowwise call = {.loss = "sparse_categorical_crossentropy_from_logits",
                           .reduction = FASTLOSS_SUM,
                           .replicas = 1,
                           .y_true_dtype = FASTLOSS_INT32,
                           .y_pred_dtype = FASTLOSS_FLOAT32,
                           .outer = kRowCount,
                           .classes = kClassCount,
                           .inner = 1,
                           .y_true = label,
                           .y_pred = expected,
                           .temperature = 1,
                           .has_ignore_class = 1,
                           .ignore_class = -1};
  snprintf(context, sizeof context, "past the caches");
  check(!fastloss_rowwise_forward(&call, &loss, expected, NULL, NULL), "in place");
  call.y_pred = logits;
  for (int offset = 0; offset < 64; offset += 20) {
    char* const memory = malloc(offset + kBytes);
    memset(memory, 0x5a, offset);
    check(!fastloss_rowwise_forward(&call, &again, memory + offset, NULL, NULL), "forward");
    check(again == loss, "the same loss");
    check(!memcmp(memory + offset, expected, kBytes), "the same gradient");
    for (int i = 0; i < offset; ++i) check(memory[i] == 0x5a, "nothing before the gradient");
    free(memory);
  }
  free(expected);
  free(label);
  free(logits);
}

int main(void) {
  char isas[64], losses[2048];
  strcpy(isas, fastloss_isas());
  for (char* isa = isas; isa; isa = strchr(isa, ' ') ? strchr(isa, ' ') + 1 : NULL) {
    char name[16];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(isa, " "), isa);
    check(!fastloss_set_isa(name), "an instruction set of this CPU");
    snprintf(losses, sizeof losses, "%s", fastloss_rowwise_losses());
    for (char* loss = strtok(losses, " "); loss; loss = strtok(NULL, " ")) check_loss(loss);
    check_past_caches();
  }
  check_errors();
  printf("%d passed, %d failed\n", checks - failures, failures);
  return failures != 0;
}
