// The elementwise losses of the CUDA sources, run on the host, against those of the CPU: losses,
// dtypes, shapes, weights, reductions. Arrays have any alignment that their elements allow.
#include <limits>
#include <vector>

#include "api/elementwise_call.h"
#include "arrays.h"

namespace {

struct Results {
  Array loss, terms, gradient;
  Results(int32_t wide, int64_t losses, int64_t term_count, int32_t dtype, int64_t elements,
          int offset)
      : loss(wide, losses), terms(wide, term_count), gradient(dtype, elements, offset) {}
};

int compute(const fastloss_elementwise& call, const void* upstream, bool with_terms,
            bool with_gradient, Results* results) {
  const int64_t bytes = fastloss_cuda_elementwise_scratch(&call);
  check(bytes >= 0, "scratch");
  Array scratch(FASTLOSS_FLOAT64, bytes / 8);
  if (upstream)
    return fastloss_cuda_elementwise_backward(&call, upstream, results->gradient.data(),
                                              scratch.data(), nullptr);
  return fastloss_cuda_elementwise_forward(
      &call, results->loss.data(), with_terms ? results->terms.data() : nullptr,
      with_gradient ? results->gradient.data() : nullptr, scratch.data(), nullptr);
}

int compute_on_cpu(const fastloss_elementwise& call, const void* upstream, bool with_terms,
                   bool with_gradient, Results* results) {
  if (upstream) return fastloss_elementwise_backward(&call, upstream, results->gradient.data());
  return fastloss_elementwise_forward(&call, results->loss.data(),
                                      with_terms ? results->terms.data() : nullptr,
                                      with_gradient ? results->gradient.data() : nullptr);
}

// One call, in all its forms.
void check_call(fastloss_elementwise call, int offset) {
  const int32_t dtype = call.y_pred_dtype;
  const int32_t wide = wide_of(dtype);
  const int64_t elements = call.rows * call.columns;
  const bool per_row = call.reduction == FASTLOSS_NONE;
  const int64_t losses = per_row ? call.rows : 1;
  Results expected(wide, losses, call.term_count, dtype, elements, offset);
  Results found(wide, losses, call.term_count, dtype, elements, offset);
  Results again(wide, losses, call.term_count, dtype, elements, offset);
  const double tolerance = tolerance_of(wide), gradient_tolerance = tolerance_of(dtype);

  for (const bool with_gradient : {false, true}) {
    if (per_row && with_gradient) continue;
    check(!compute_on_cpu(call, nullptr, !per_row, with_gradient, &expected), "on the CPU");
    turns = Turns::forwards;
    check(!compute(call, nullptr, !per_row, with_gradient, &found), "forward");
    check(close(found.loss, expected.loss, tolerance), "the loss");
    if (!per_row) check(close(found.terms, expected.terms, tolerance), "the terms' values");
    if (with_gradient)
      check(close(found.gradient, expected.gradient, gradient_tolerance), "the gradient");
    turns = Turns::backwards;
    check(!compute(call, nullptr, !per_row, with_gradient, &again), "forward, backwards");
    check(again.loss == found.loss && (per_row || again.terms == found.terms) &&
              (!with_gradient || again.gradient == found.gradient),
          "the order of threads changes no bit");
  }

  Array upstream(wide, losses);
  upstream.fill(false);
  found.gradient.poison();
  check(!compute_on_cpu(call, upstream.data(), false, true, &expected), "on the CPU");
  check(!compute(call, upstream.data(), false, true, &found), "backward");
  check(close(found.gradient, expected.gradient, gradient_tolerance), "the gradient from upstream");

  if (!elements || fastloss::needs_all_labels(call)) return;
  std::memcpy(again.gradient.data(), call.y_pred, size_t(again.gradient.bytes()));
  call.y_pred = again.gradient.data();
  check(!compute(call, upstream.data(), false, true, &again), "backward in place");
  check(again.gradient == found.gradient, "in place gives the same gradient");
}

const struct {
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
    {"hinge", 1, {0}},
    {"squared_hinge", 1, {0}},
    {"kl_divergence", 1, {1e-7}},
    {"pinball", 1, {0.3}},
    {"binary_crossentropy", 2, {0.1, 1e-7}},
    {"binary_crossentropy_from_logits", 1, {0.1}},
    {"binary_focal_crossentropy", 5, {0, 2, 0.75, -0.5, 1e-7}},
    {"binary_focal_crossentropy", 5, {0.1, 1.5, 0.75, -0.5, 1e-7}},
    {"binary_focal_crossentropy_from_logits", 4, {0.1, 1.5, 1, 0}},
    {"binary_focal_crossentropy_from_logits", 4, {0, 2, 1, 0}},
};
constexpr size_t kLossCount = sizeof(kLosses) / sizeof(*kLosses);

fastloss_term term_of(size_t loss, double factor) {
  const auto& entry = kLosses[loss % kLossCount];
  return {entry.name, entry.values,
          fastloss::find_loss(fastloss::kElementwiseLosses, entry.name)->parameter_count(), factor};
}

void check_losses() {
  const int32_t predictions[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                                 FASTLOSS_BFLOAT16};
  const int32_t labels[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16, FASTLOSS_BFLOAT16,
                            FASTLOSS_INT64,   FASTLOSS_UINT32,  FASTLOSS_INT16,   FASTLOSS_BOOL,
                            FASTLOSS_INT8,    FASTLOSS_UINT16,  FASTLOSS_INT32,   FASTLOSS_UINT64,
                            FASTLOSS_UINT8};
  const int64_t shapes[][2] = {{0, 3},   {3, 0},    {1, 1},    {7, 5},
                               {341, 3}, {2, 1025}, {1500, 1}, {1, 17001}};
  // Each loss and dtype has two of the shapes, each shape all dtypes of labels. Fibers are slow
  // under the address sanitizer.
#ifdef __SANITIZE_ADDRESS__
  constexpr int kTurns = 1;
#else
  constexpr int kTurns = 2;
#endif
  size_t turn = 0;
  for (size_t loss = 0; loss < kLossCount; ++loss)
    for (const int32_t prediction : predictions)
      for (int k = 0; k < kTurns; ++k) {
        const auto& shape = shapes[(turn + turn / 8) % 8];
        const int32_t label = labels[turn % 13];
        const int32_t wide = wide_of(prediction);
        const int64_t rows = shape[0], columns = shape[1];
        const int offset = int(turn % 3);
        ++turn;
        context = std::string(kLosses[loss].name) + ", y_true " + std::to_string(label) +
                  ", y_pred " + std::to_string(prediction) + ", (" + std::to_string(rows) + ", " +
                  std::to_string(columns) + "), offset " + std::to_string(offset);
        const fastloss_term terms[] = {term_of(loss, 1), term_of(loss + 1, 0.5),
                                       term_of(loss + 7, 2)};
        Array y_true(label, rows * columns, offset), y_pred(prediction, rows * columns, offset);
        y_true.fill(true), y_pred.fill(false);
        // A label that is neither 0 nor 1, beyond those that the guess looks at.
        if (rows * columns > 1024 && turn % 2) y_true.put(rows * columns - 3, 2);
        Array weight(wide, rows), column(wide, columns), of_two(wide, 2);
        weight.fill(false), column.fill(false), of_two.fill(false);
        fastloss_elementwise call{};
        call.terms = terms;
        call.term_count = 1;
        call.replicas = 2;
        call.y_true_dtype = label;
        call.y_pred_dtype = prediction;
        call.rows = rows;
        call.columns = columns;
        call.y_true = y_true.data();
        call.y_pred = y_pred.data();
        call.reduction = FASTLOSS_SUM;
        check_call(call, offset);
        call.reduction = FASTLOSS_NONE;
        check_call(call, offset);
        call.weight = weight.data();
        call.weight_count = rows;
        call.weight_repeat = 1;
        check_call(call, offset);
        call.reduction = FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
        call.weight_expansion = 3;
        check_call(call, offset);
        call.term_count = 3;
        check_call(call, offset);
        call.weight = of_two.data();
        call.weight_count = 2;
        call.weight_repeat = 3;
        call.reduction = FASTLOSS_NONE;
        check_call(call, offset);
        call.weight = nullptr;
        call.reduction = FASTLOSS_MEAN;
        check_call(call, offset);
        call.term_count = 1;
        call.column_weight = column.data();
        call.column_weight_count = columns;
        check_call(call, offset);
        call.reduction = FASTLOSS_NONE;
        check_call(call, offset);
      }
}

// The bits of a result do not depend on the alignment of the arrays.
void check_alignment() {
  context = "alignment";
  const fastloss_term terms[] = {term_of(12, 1), term_of(4, 0.5)};
  for (const int32_t prediction : {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_BFLOAT16})
    for (const int32_t count : {1, 2})
      for (const int32_t reduction : {FASTLOSS_NONE, FASTLOSS_MEAN}) {
        const int64_t rows = 333, columns = 7;
        const int32_t wide = wide_of(prediction);
        const int64_t losses = reduction == FASTLOSS_NONE ? rows : 1;
        Results first(wide, losses, count, prediction, rows * columns, 0);
        for (int offset = 0; offset < 5; ++offset) {
          Array y_true(FASTLOSS_FLOAT32, rows * columns, (offset + 1) / 2);
          Array y_pred(prediction, rows * columns, offset);
          state = 1;
          y_true.fill(true), y_pred.fill(false);
          fastloss_elementwise call{};
          call.terms = terms, call.term_count = count, call.replicas = 1;
          call.reduction = reduction;
          call.y_true_dtype = FASTLOSS_FLOAT32, call.y_pred_dtype = prediction;
          call.rows = rows, call.columns = columns;
          call.y_true = y_true.data(), call.y_pred = y_pred.data();
          Results found(wide, losses, count, prediction, rows * columns, offset);
          const bool scalar = reduction != FASTLOSS_NONE;
          check(!compute(call, nullptr, scalar, scalar, &found), "forward");
          if (!offset) first.loss.copy(found.loss), first.gradient.copy(found.gradient);
          check(found.loss == first.loss && (!scalar || found.gradient == first.gradient),
                "alignment changes no bit");
        }
      }
}

// A row's loss depends neither on other rows nor on its own index.
void check_equal_rows() {
  context = "equal rows";
  const fastloss_term term = term_of(12, 1);
  for (const int64_t columns : {1, 3, 100, 1021, 1022, 5000, 40001}) {
    const int64_t rows = 4;
    Array y_true(FASTLOSS_UINT8, rows * columns), y_pred(FASTLOSS_FLOAT32, rows * columns);
    for (int64_t i = 0; i < columns; ++i) {
      const double label = uniform() < 0.5, prediction = uniform() * 20 - 10;
      for (int64_t row = 0; row < rows; ++row)
        y_true.put(row * columns + i, label), y_pred.put(row * columns + i, prediction);
    }
    fastloss_elementwise call{};
    call.terms = &term, call.term_count = 1, call.replicas = 1, call.reduction = FASTLOSS_NONE;
    call.y_true_dtype = FASTLOSS_UINT8, call.y_pred_dtype = FASTLOSS_FLOAT32;
    call.rows = rows, call.columns = columns;
    call.y_true = y_true.data(), call.y_pred = y_pred.data();
    Results found(FASTLOSS_FLOAT32, rows, 1, FASTLOSS_FLOAT32, 0, 0);
    check(!compute(call, nullptr, false, false, &found), "forward");
    for (int64_t row = 1; row < rows; ++row)
      check(found.loss.at(row) == found.loss.at(0), "equal rows have equal losses");
  }
}

void check_special_values() {
  for (size_t loss = 0; loss < kLossCount; ++loss)
    for (const int32_t dtype : {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_BFLOAT16}) {
      context =
          std::string(kLosses[loss].name) + " of special values, y_pred " + std::to_string(dtype);
      const double special[] = {0, 1, -1, INFINITY, -INFINITY, NAN, 0.5, 1000, -1000, 2};
      const int64_t count = 10;
      const int32_t wide = wide_of(dtype);
      Array y_true(FASTLOSS_FLOAT32, count), y_pred(dtype, count);
      y_true.fill(true);
      for (int64_t i = 0; i < count; ++i) y_pred.put(i, special[i]);
      const fastloss_term term = term_of(loss, 1);
      fastloss_elementwise call{};
      call.terms = &term, call.term_count = 1, call.replicas = 1, call.reduction = FASTLOSS_NONE;
      call.y_true_dtype = FASTLOSS_FLOAT32, call.y_pred_dtype = dtype;
      call.rows = count, call.columns = 1;
      call.y_true = y_true.data(), call.y_pred = y_pred.data();
      Results found(wide, count, 1, dtype, count, 0), expected(wide, count, 1, dtype, count, 0);
      check(!compute(call, nullptr, false, false, &found), "forward");
      check(!compute_on_cpu(call, nullptr, false, false, &expected), "on the CPU");
      check(close(found.loss, expected.loss, tolerance_of(wide)), "the loss");
    }
}

void check_refusals() {
  context = "refusals";
  const double parameters[] = {1, 0};
  float x[4] = {0}, loss;
  std::vector<fastloss_term> terms(FASTLOSS_CUDA_MAX_TERMS + 1,
                                   fastloss_term{"huber", parameters, 1, 1});
  double scratch[64];
  fastloss_elementwise call{};
  call.terms = terms.data(), call.term_count = 1, call.replicas = 1;
  call.reduction = FASTLOSS_SUM;
  call.y_true_dtype = call.y_pred_dtype = FASTLOSS_FLOAT32;
  call.rows = 4, call.columns = 1;
  call.y_true = call.y_pred = x;
  const auto forward = [&](void* gradient) {
    return fastloss_cuda_elementwise_forward(&call, &loss, nullptr, gradient, scratch, nullptr);
  };
  check(!forward(nullptr), "a good call");
  call.term_count = FASTLOSS_CUDA_MAX_TERMS;
  check(!forward(nullptr), "as many terms as one call takes");
  call.term_count = FASTLOSS_CUDA_MAX_TERMS + 1;
  check(forward(nullptr) == -1 && fastloss_cuda_elementwise_scratch(&call) == -1,
        "more terms than one call takes");
  call.term_count = 1;
  terms[0].loss = "hubert";
  check(forward(nullptr) == -1, "an unknown loss");
  check(std::strstr(fastloss_cuda_error(), "hubert") != nullptr, "the error names it");
  terms[0].loss = "hinge";
  check(forward(x) == -1, "in place where a second pass may follow");
  terms[0].loss = "huber";
  call.reduction = FASTLOSS_NONE;
  check(forward(x) == -1, "a gradient of each row's loss");
  call.y_pred_dtype = FASTLOSS_INT32;
  check(forward(nullptr) == -1, "integer predictions");
}

}  // namespace

int main() {
  check_losses();
  check_alignment();
  check_equal_rows();
  check_special_values();
  check_refusals();
  return report();
}
