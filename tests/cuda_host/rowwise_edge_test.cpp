// The rowwise losses of the CUDA sources, run on the host: special values, labels that are wrong or
// ignored, calls that are refused.
#include "rowwise_calls.h"

namespace {

void check_special_values() {
  for (const Loss& loss : losses())
    for (const int32_t prediction : {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_BFLOAT16})
      for (const int64_t classes : {3, 300, 2500})
        for (const int64_t inner : {1, 2}) {
          const int64_t outer = 8, rows = outer * inner, shape[3] = {outer, classes, inner};
          context = loss.name + " of special values, y_pred " + std::to_string(prediction) + ", (" +
                    std::to_string(outer) + ", " + std::to_string(classes) + ", " +
                    std::to_string(inner) + ")";
          const int32_t label = loss.sparse ? FASTLOSS_INT32 : FASTLOSS_FLOAT32;
          Array y_true(label, loss.sparse ? rows : rows * classes);
          Array y_pred(prediction, rows * classes);
          fill_labels(loss, classes, &y_true), fill_predictions(loss, &y_pred);
          const auto put = [&](int64_t outer, int64_t c, double x) {
            y_pred.put((outer * classes + c) * inner, x);
          };
          put(1, classes - 1, NAN), put(2, 0, INFINITY), put(3, 1, -INFINITY);
          for (int64_t c = 0; c < classes; ++c) {
            put(4, c, -INFINITY), put(5, c, NAN), put(6, c, 0);
            put(7, c, 1e5 + 1024 * (c % 3));
          }
          fastloss_rowwise call = call_of(loss, label, prediction, shape);
          call.reduction = FASTLOSS_NONE;
          call.y_true = y_true.data(), call.y_pred = y_pred.data();
          Outputs found(call, 0), expected(call, 0);
          check(!forward(call, true, false, &found), "forward");
          check(!fastloss_rowwise_forward(&call, expected.loss.data(), nullptr,
                                          expected.log_sum_exp.data(), expected.hits()),
                "on the CPU");
          // In a row of -infinity or NaN alone, the largest may be what fills up a vector.
          for (int64_t row = 0; row < rows; ++row)
            if (row / inner != 4 && row / inner != 5)
              check(found.hits()[row] == expected.hits()[row], "a hit");
          for (int64_t row = 0; row < rows; ++row) {
            const double x = found.loss.at(row), y = expected.loss.at(row);
            // Of rows without a largest number neither loss is finite.
            const bool same =
                std::isfinite(y)
                    ? std::fabs(x - y) <= 8 * loss_tolerance(prediction) * (1 + std::fabs(y))
                    : !std::isfinite(x);
            if (!same && failures < 40)
              std::printf("row %lld: %.9g, not %.9g\n", static_cast<long long>(row), x, y);
            check(same, "the loss of a row");
          }
        }
}

// A label that is not a class makes its row NaN, and nothing else.
void check_bad_labels() {
  for (const Loss& loss : losses()) {
    if (!loss.sparse) continue;
    for (const int64_t classes : {5, 300, 5000})
      for (const int64_t inner : {1, 2}) {
        context = loss.name + " of bad labels, " + std::to_string(classes) + " classes";
        const int64_t outer = 10, rows = outer * inner, shape[3] = {outer, classes, inner};
        Array good(FASTLOSS_INT64, rows), bad(FASTLOSS_INT64, rows);
        Array y_pred(FASTLOSS_FLOAT32, rows * classes);
        fill_labels(loss, classes, &good), fill_predictions(loss, &y_pred);
        bad.copy(good);
        const double wrong[] = {-1, double(classes), -9e18, 9e18};
        for (int64_t i = 0; i < 4; ++i) bad.put(2 * i + 1, wrong[i]);
        good.put(8, -100), bad.put(8, -100);
        fastloss_rowwise call = call_of(loss, FASTLOSS_INT64, FASTLOSS_FLOAT32, shape);
        call.reduction = FASTLOSS_NONE;
        call.has_ignore_class = 1, call.ignore_class = -100;
        call.y_pred = y_pred.data();
        Outputs found(call, 0), expected(call, 0);
        Array upstream(FASTLOSS_FLOAT32, rows);
        upstream.fill(false);
        call.y_true = good.data();
        check(!fastloss_rowwise_forward(&call, expected.loss.data(), nullptr,
                                        expected.log_sum_exp.data(), expected.hits()) &&
                  !fastloss_rowwise_backward(&call, upstream.data(), expected.gradient.data()),
              "on the CPU");
        call.y_true = bad.data();
        check(!forward(call, true, false, &found) && !backward(call, upstream, &found),
              "on the device");
        for (int64_t row = 0; row < rows; ++row) {
          const bool is_bad = row % 2 && row < 8;
          if (is_bad) {
            expected.loss.put(row, NAN), expected.log_sum_exp.put(row, NAN);
            expected.hits()[row] = 0;
            for (int64_t c = 0; c < classes; ++c)
              expected.gradient.put(((row / inner) * classes + c) * inner + row % inner, NAN);
          }
        }
        check(near(found.loss, expected.loss, 4e-6), "the loss");
        check(near(found.log_sum_exp, expected.log_sum_exp, 4e-6), "log_sum_exp");
        check(found.hit == expected.hit, "hits");
        check(near(found.gradient, expected.gradient, 4e-6), "the gradient");
        for (const int32_t reduction : {FASTLOSS_SUM, FASTLOSS_MEAN}) {
          call.reduction = reduction;
          check(!forward(call, false, true, &found), "forward");
          check(found.loss.at(0) != found.loss.at(0), "the reduced loss is NaN");
        }
      }
  }
}

// Where all rows are ignored there is no loss and no gradient.
void check_all_ignored() {
  for (const Loss& loss : losses())
    for (const int64_t classes : {4, 700, 3000})
      for (const int32_t reduction : {FASTLOSS_MEAN, FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT}) {
        context = loss.name + ", all ignored";
        const int64_t shape[3] = {6, classes, 1};
        Array y_true(FASTLOSS_FLOAT32, loss.sparse ? 6 : 6 * classes);
        Array y_pred(FASTLOSS_BFLOAT16, 6 * classes), weight(FASTLOSS_FLOAT32, 6);
        fill_predictions(loss, &y_pred), weight.fill(false);
        for (int64_t i = 0; i < y_true.count(); ++i)
          y_true.put(i, loss.sparse ? 2 : i % classes == 2);
        fastloss_rowwise call = call_of(loss, FASTLOSS_FLOAT32, FASTLOSS_BFLOAT16, shape);
        call.reduction = reduction;
        call.weight = weight.data(), call.weight_count = 6, call.weight_repeat = 1;
        call.has_ignore_class = 1, call.ignore_class = 2;
        call.y_true = y_true.data(), call.y_pred = y_pred.data();
        Outputs found(call, 1);
        check(!forward(call, true, true, &found), "forward");
        check(found.loss.at(0) == 0, "no loss");
        for (int64_t i = 0; i < found.gradient.count(); ++i)
          check(found.gradient.at(i) == 0, "no gradient");
      }
}

void check_refusals() {
  context = "refusals";
  const int32_t y_true[] = {0, 1};
  const float y_pred[6] = {0};
  float loss[2], gradient[6];
  double scratch[64];
  fastloss_rowwise call{};
  call.loss = "sparse_categorical_crossentropy_from_logits";
  call.replicas = 1;
  call.y_true_dtype = FASTLOSS_INT32, call.y_pred_dtype = FASTLOSS_FLOAT32;
  call.outer = 2, call.classes = 3, call.inner = 1;
  call.temperature = 1;
  call.y_true = y_true, call.y_pred = y_pred;
  const auto run = [&](float* slopes) {
    return fastloss_cuda_rowwise_forward(&call, loss, slopes, nullptr, nullptr, scratch, nullptr);
  };
  check(!run(nullptr), "a good call");
  check(run(gradient) == -1, "no gradient of a loss per row");
  call.temperature = 0;
  check(run(nullptr) == -1 && fastloss_cuda_rowwise_scratch(&call) == -1, "no temperature");
  call.temperature = 1;
  call.classes = (int64_t{1} << 32) + 1;
  check(run(nullptr) == -1 && std::strstr(fastloss_cuda_error(), "4294967297"), "too long a row");
  call.classes = 3;
  call.loss = "sparse_crossentropy";
  check(run(nullptr) == -1, "an unknown loss");
  check(std::strstr(fastloss_cuda_error(), "sparse_crossentropy") != nullptr, "named");
  call.loss = "categorical_generalized_cross_entropy";
  check(run(nullptr) == -1, "too few parameters");
  const double q = 0.7;
  call.parameters = &q, call.parameter_count = 1;
  call.label_smoothing = 0.1;
  check(run(nullptr) == -1, "label_smoothing of a loss without");
}

}  // namespace

int main() {
  check_special_values();
  check_bad_labels();
  check_all_ignored();
  check_refusals();
  return report();
}
