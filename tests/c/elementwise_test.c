/* The C interface on its own: what holds for every loss, dtype, shape and weight. Buffers have the
 * exact size, so that the address sanitizer sees a read or a write beside them. */
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
    case FASTLOSS_UINT64:
      return 8;
    case FASTLOSS_FLOAT32:
    case FASTLOSS_INT32:
    case FASTLOSS_UINT32:
      return 4;
    case FASTLOSS_INT8:
    case FASTLOSS_UINT8:
    case FASTLOSS_BOOL:
      return 1;
    default:
      return 2;
  }
}

/* 0.25 + k / 64: exact in every float type; labels are 0 or 1. */
static void* make(int dtype, int64_t count, int labels) {
  void* data = malloc(count ? count * size_of(dtype) : 1);
  for (int64_t i = 0; i < count; ++i) {
    const double x = labels ? uniform() < 0.5 : 0.25 + (int)(uniform() * 32) / 64.0;
    const float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    switch (dtype) {
      case FASTLOSS_FLOAT64:
        ((double*)data)[i] = x;
        break;
      case FASTLOSS_FLOAT32:
        ((float*)data)[i] = f;
        break;
      case FASTLOSS_BFLOAT16:
        ((uint16_t*)data)[i] = (uint16_t)(bits >> 16);
        break;
      case FASTLOSS_FLOAT16:
        ((uint16_t*)data)[i] = x == 0 ? 0 : (uint16_t)((bits >> 13) - ((127 - 15) << 10));
        break;
      case FASTLOSS_INT64:
      case FASTLOSS_UINT64:
        ((int64_t*)data)[i] = (int64_t)x;
        break;
      case FASTLOSS_INT32:
      case FASTLOSS_UINT32:
        ((int32_t*)data)[i] = (int32_t)x;
        break;
      case FASTLOSS_INT16:
      case FASTLOSS_UINT16:
        ((int16_t*)data)[i] = (int16_t)x;
        break;
      default:
        ((int8_t*)data)[i] = (int8_t)x;
    }
  }
  return data;
}

static double at(const void* data, int dtype, int64_t i) {
  return dtype == FASTLOSS_FLOAT64 ? ((const double*)data)[i] : ((const float*)data)[i];
}

static void backwards(void* unused, int64_t pieces, void (*piece)(void*, int64_t), void* work) {
  (void)unused;
  for (int64_t i = pieces - 1; i >= 0; --i) piece(work, i);
}

/* Whether the entry of a loss, "hinge():needs_all_labels", has this flag. */
static int needs_all_labels(const char* loss) {
  char start[128];
  snprintf(start, sizeof start, "%s(", loss);
  const char* const entry = strstr(fastloss_elementwise_losses(), start);
  const char* const flag = strstr(entry, ":needs_all_labels");
  return flag && flag < entry + strcspn(entry, " ");
}

static void check_call(fastloss_elementwise call) {
  const int dtype = call.y_pred_dtype;
  const int wide = dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
  const int64_t count = call.rows * call.columns;
  const size_t bytes = count * size_of(dtype);
  void* gradient = malloc(bytes ? bytes : 1);
  void* again = malloc(bytes ? bytes : 1);
  void* rows = malloc(call.rows ? call.rows * size_of(wide) : 1);
  void* loss = malloc(size_of(wide));
  void* other = malloc(size_of(wide));

  call.reduction = FASTLOSS_SUM;
  check(!fastloss_elementwise_forward(&call, loss, NULL, gradient), "forward");
  call.parallel_for = backwards;
  check(!fastloss_elementwise_forward(&call, other, NULL, again), "forward in another order");
  check(!memcmp(loss, other, size_of(wide)) && !memcmp(gradient, again, bytes),
        "the order of the pieces changes no bit");
  call.parallel_for = NULL;

  double one_wide = 1;
  float one = 1;
  const void* upstream = wide == FASTLOSS_FLOAT64 ? (void*)&one_wide : (void*)&one;
  check(!fastloss_elementwise_backward(&call, upstream, again), "backward");
  check(!memcmp(gradient, again, bytes), "backward recomputes the forward's gradient");

  int in_place = 1;
  for (int k = 0; k < call.term_count; ++k) in_place &= !needs_all_labels(call.terms[k].loss);
  if (in_place && bytes) {
    const void* y_pred = call.y_pred;
    memcpy(again, y_pred, bytes);
    call.y_pred = again;
    check(!fastloss_elementwise_forward(&call, other, NULL, again), "forward in place");
    check(!memcmp(gradient, again, bytes), "in place gives the same gradient");
    call.y_pred = y_pred;
  }

  call.reduction = FASTLOSS_NONE;
  check(!fastloss_elementwise_forward(&call, rows, NULL, NULL), "forward by rows");
  double sum = 0;
  for (int64_t row = 0; row < call.rows; ++row) sum += at(rows, wide, row);
  const double total = at(loss, wide, 0);
  if (call.columns)
    check(fabs(sum - total) <= 1e-5 * (1 + fabs(total)), "the rows add up to the sum");
  else
    check(call.rows == 0 ? total == 0 : (sum != sum) == (total != total), "empty rows");

  free(gradient), free(again), free(rows), free(loss), free(other);
}

static void check_terms(fastloss_elementwise call) {
  const fastloss_term* const terms = call.terms;
  const int wide = call.y_pred_dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
  const size_t bytes = call.term_count * size_of(wide);
  void* values = malloc(bytes);
  void* alone = malloc(bytes);
  void* loss = malloc(size_of(wide));
  call.reduction = FASTLOSS_MEAN;
  check(!fastloss_elementwise_forward(&call, loss, values, NULL), "forward of the terms");
  const int count = call.term_count;
  double sum = 0;
  call.term_count = 1;
  for (int k = 0; k < count; ++k) {
    fastloss_term term = terms[k];
    term.factor = 1;
    call.terms = &term;
    check(!fastloss_elementwise_forward(&call, (char*)alone + k * size_of(wide), NULL, NULL),
          "forward of one term");
    sum += terms[k].factor * at(values, wide, k);
  }
  if (call.columns) {
    check(!memcmp(values, alone, bytes), "a term has the bits that it has alone");
    check(fabs(sum - at(loss, wide, 0)) <= 1e-5 * (1 + fabs(sum)), "the terms add up to the sum");
  }
  free(values), free(alone), free(loss);
}

static const struct {
  const char* name;
  int count;
  double values[5];
} kLosses[] = {
    {"mean_squared_error", 0, {0}},
    {"mean_absolute_error", 0, {0}},
    {"mean_absolute_percentage_error", 1, {1e-7}},
    {"mean_squared_logarithmic_error", 1, {1e-7}},
    {"huber", 1, {0.5}},
    {"log_cosh", 0, {0}},
    {"poisson", 1, {1e-7}},
    {"hinge", 0, {0}},
    {"squared_hinge", 0, {0}},
    {"kl_divergence", 1, {1e-7}},
    {"pinball", 1, {0.3}},
    {"binary_crossentropy", 2, {0, 1e-7}},
    {"binary_crossentropy_from_logits", 1, {0.1}},
    {"binary_focal_crossentropy", 5, {0, 2, 0.75, -0.5, 1e-7}},
    {"binary_focal_crossentropy_from_logits", 4, {0.1, 1.5, 1, 0}},
};

/* Under the sanitizers, which are slow, each loss meets long inputs of one dtype. */
#ifdef __SANITIZE_ADDRESS__
enum { kShare = 4 };
#else
enum { kShare = 1 };
#endif

static void check_losses(void) {
  static const int predictions[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                                    FASTLOSS_BFLOAT16};
  static const int labels[] = {FASTLOSS_FLOAT32,  FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                               FASTLOSS_BFLOAT16, FASTLOSS_INT64,   FASTLOSS_UINT32,
                               FASTLOSS_INT16,    FASTLOSS_BOOL};
  static const int64_t shapes[][2] = {{0, 3},    {3, 0},     {1, 1},     {7, 5},     {3, 1024},
                                      {2, 1025}, {66000, 1}, {40, 2000}, {1, 70001}, {2, 131072}};
  int turn = 0;
  for (size_t l = 0; l < sizeof(kLosses) / sizeof(*kLosses); ++l)
    for (size_t p = 0; p < 4; ++p)
      for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); ++s) {
        const int label = labels[turn++ % 8];
        const int wide = predictions[p] == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
        const int64_t rows = shapes[s][0], columns = shapes[s][1];
        if (rows * columns > 60000 && (l + p + s) % kShare) continue;
        snprintf(context, sizeof context, "%s, y_true %d, y_pred %d, (%lld, %lld)", kLosses[l].name,
                 label, predictions[p], (long long)rows, (long long)columns);
        fastloss_elementwise call = {0};
        /* The loss alone, and in a sum with the two that follow it in the list. */
        fastloss_term terms[3];
        for (size_t k = 0; k < 3; ++k) {
          const size_t other = (l + k) % (sizeof(kLosses) / sizeof(*kLosses));
          terms[k].loss = kLosses[other].name;
          terms[k].parameters = kLosses[other].values;
          terms[k].parameter_count = kLosses[other].count;
          terms[k].factor = k ? 0.5 * k : 1;
        }
        call.terms = terms;
        call.term_count = 1;
        call.replicas = 1;
        call.y_true_dtype = label;
        call.y_pred_dtype = predictions[p];
        call.rows = rows;
        call.columns = columns;
        void* y_true = make(label, rows * columns, 1);
        void* y_pred = make(predictions[p], rows * columns, 0);
        call.y_true = y_true;
        call.y_pred = y_pred;
        check_call(call);

        void* weight = make(wide, rows, 0);
        call.weight = weight;
        call.weight_repeat = 1;
        call.weight_count = rows;
        check_call(call);
        if (rows % 2 == 0 && rows) {
          call.weight_repeat = rows / 2;
          call.weight_count = 2;
          check_call(call);
        }
        call.term_count = 3;
        check_call(call);
        call.weight = NULL;
        check_call(call);
        check_terms(call);
        call.term_count = 1;
        void* classes = make(wide, columns, 0);
        if (columns) {
          call.column_weight = classes;
          call.column_weight_count = columns;
          check_call(call);
        }
        free(y_true), free(y_pred), free(weight), free(classes);
      }
}

static void check_refusals(void) {
  strcpy(context, "refusals");
  const double parameters[] = {-1, 0};
  const float x = 0;
  float loss;
  fastloss_elementwise call = {0};
  fastloss_term terms[2] = {{"huber", parameters, 1, 1}, {"pinball", parameters, 1, 1}};
  call.terms = terms;
  call.term_count = 1;
  call.replicas = 1;
  call.y_true_dtype = call.y_pred_dtype = FASTLOSS_FLOAT32;
  call.rows = call.columns = 1;
  call.y_true = call.y_pred = &x;
  check(!fastloss_elementwise_forward(&call, &loss, NULL, NULL), "a good call");
  terms[0].loss = "hubert";
  check(fastloss_elementwise_forward(&call, &loss, NULL, NULL) == -1, "an unknown loss");
  check(strstr(fastloss_error(), "hubert") != NULL, "the error names it");
  terms[0].loss = "huber";
  terms[0].parameter_count = 2;
  check(fastloss_elementwise_forward(&call, &loss, NULL, NULL) == -1, "too many parameters");
  terms[0].parameter_count = 1;
  call.y_pred_dtype = FASTLOSS_INT32;
  check(fastloss_elementwise_forward(&call, &loss, NULL, NULL) == -1, "integer predictions");
  call.y_pred_dtype = FASTLOSS_FLOAT32;
  call.term_count = 0;
  check(fastloss_elementwise_forward(&call, &loss, NULL, NULL) == -1, "no loss");
  call.term_count = 2;
  check(!fastloss_elementwise_forward(&call, &loss, NULL, NULL), "two losses");
  call.column_weight = &x;
  call.column_weight_count = 1;
  check(fastloss_elementwise_forward(&call, &loss, NULL, NULL) == -1,
        "a column weight for two losses");
  call.column_weight = NULL;
  float values[2];
  call.reduction = FASTLOSS_NONE;
  check(fastloss_elementwise_forward(&call, &loss, values, NULL) == -1,
        "values of the terms of each row");
  call.rows = -1;
  check(fastloss_elementwise_forward(&call, &loss, NULL, NULL) == -1, "a negative number of rows");
  check(fastloss_set_isa("mmx") == -1, "an unknown instruction set");
}

static void check_buffers(void) {
  strcpy(context, "buffers");
  fastloss_trim();
  char* buffer = fastloss_allocate(3 << 20);
  memset(buffer, 1, 3 << 20);
  fastloss_release(buffer, 3 << 20);
  check(fastloss_allocate(3 << 20) == buffer, "a released buffer is used again");
  fastloss_release(buffer, 3 << 20);
  check(fastloss_trim() >= 3 << 20, "trim gives it back");
  check(fastloss_trim() == 0, "once");
}

int main(void) {
  char isas[64];
  strcpy(isas, fastloss_isas());
  for (char* isa = strtok(isas, " "); isa; isa = strtok(NULL, " ")) {
    fastloss_set_isa(isa);
    fastloss_set_threads(2);
    check_losses();
  }
  check_refusals();
  check_buffers();
  printf("%d passed, %d failed\n", checks - failures, failures);
  return failures != 0;
}
