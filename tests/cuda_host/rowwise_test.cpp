// The rowwise losses of the CUDA sources, run on the host, against those of the CPU: losses,
// dtypes, options, and rows on both sides of every border between the ways to walk them.
#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include "arrays.h"

namespace {

using fastloss::cuda::room;

struct Loss {
  std::string name;
  double parameters[4];
  int count;
  bool sparse, logits;
};

// Of fastloss_rowwise_losses(), with parameters by their names.
std::vector<Loss> losses() {
  std::vector<Loss> found;
  const std::string text = fastloss_rowwise_losses();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string entry = text.substr(begin, end - begin);
    begin = end + 1;
    Loss loss = {entry.substr(0, entry.find('(')), {0}, 0, false, false};
    for (size_t at = entry.find('('); entry[at + 1] != ')'; ++loss.count) {
      const char first = entry[at + 1];
      loss.parameters[loss.count] = first == 'e' ? 1e-7 : first == 'g' ? 1.5 : 0.3;
      at = entry.find(',', at + 1);
      if (at == std::string::npos) {
        ++loss.count;
        break;
      }
    }
    loss.sparse = entry.find(":sparse") != std::string::npos;
    loss.logits = loss.name.find("from_logits") != std::string::npos;
    found.push_back(loss);
    // Gamma 2 has a form of its own.
    if (loss.name.find("focal") != std::string::npos) {
      loss.parameters[1] = 2;
      found.push_back(loss);
    }
  }
  return found;
}

int32_t wide_of(int32_t dtype) {
  return dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
}

// Within a share of the largest number: sums of another order cancel differently.
bool near(const Array& x, const Array& y, double tolerance, double floor = 1e-3) {
  double largest = 0;
  for (int64_t i = 0; i < y.count(); ++i)
    if (std::isfinite(y.at(i))) largest = std::max(largest, std::fabs(y.at(i)));
  for (int64_t i = 0; i < x.count(); ++i) {
    const double found = x.at(i), expected = y.at(i);
    if (found == expected || (found != found && expected != expected)) continue;
    if (!(std::fabs(found - expected) <= tolerance * (largest + floor))) {
      if (failures < 40)
        std::printf("number %lld is %.9g, not %.9g\n", static_cast<long long>(i), found, expected);
      return false;
    }
  }
  return true;
}

double loss_tolerance(int32_t dtype) { return dtype == FASTLOSS_FLOAT64 ? 1e-12 : 4e-6; }
double gradient_tolerance(int32_t dtype) {
  return dtype == FASTLOSS_FLOAT32 ? 1e-5 : tolerance_of(dtype);
}

struct Outputs {
  Array loss, log_sum_exp, hit, gradient;
  Outputs(const fastloss_rowwise& call, int offset)
      : loss(wide_of(call.y_pred_dtype),
             call.reduction == FASTLOSS_NONE ? call.outer * call.inner : 1),
        log_sum_exp(wide_of(call.y_pred_dtype), call.outer * call.inner),
        hit(FASTLOSS_UINT8, call.outer * call.inner),
        gradient(call.y_pred_dtype, call.outer * call.classes * call.inner, offset) {}
  uint8_t* hits() { return static_cast<uint8_t*>(hit.data()); }
};

int forward(const fastloss_rowwise& call, bool metrics, bool gradient, Outputs* out) {
  const int64_t bytes = fastloss_cuda_rowwise_scratch(&call);
  check(bytes >= 0 && bytes % 8 == 0, "scratch");
  Array scratch(FASTLOSS_FLOAT64, bytes / 8);
  return fastloss_cuda_rowwise_forward(&call, out->loss.data(),
                                       gradient ? out->gradient.data() : nullptr,
                                       metrics ? out->log_sum_exp.data() : nullptr,
                                       metrics ? out->hits() : nullptr, scratch.data(), nullptr);
}

int backward(const fastloss_rowwise& call, Array& upstream, Outputs* out) {
  Array scratch(FASTLOSS_FLOAT64, fastloss_cuda_rowwise_scratch(&call) / 8);
  return fastloss_cuda_rowwise_backward(&call, upstream.data(), out->gradient.data(),
                                        scratch.data(), nullptr);
}

// One call, in all its forms: with all outputs and alone, in place, and with other turns.
void check_call(fastloss_rowwise call, int offset) {
  const bool scalar = call.reduction != FASTLOSS_NONE;
  const double tolerance = loss_tolerance(call.y_pred_dtype);
  const double gradient_near = gradient_tolerance(call.y_pred_dtype);
  // Of one class, a gradient is what rounding leaves of the difference of two numbers near 1.
  const double floor = call.classes == 1 ? 1 : 1e-3;
  Outputs expected(call, offset), found(call, offset), again(call, offset);
  check(!fastloss_rowwise_forward(&call, expected.loss.data(),
                                  scalar ? expected.gradient.data() : nullptr,
                                  expected.log_sum_exp.data(), expected.hits()),
        "on the CPU");
  turns = Turns::forwards;
  check(!forward(call, true, scalar, &found), "forward");
  check(near(found.loss, expected.loss, tolerance), "the loss");
  check(near(found.log_sum_exp, expected.log_sum_exp, tolerance), "log_sum_exp");
  check(found.hit == expected.hit, "hits");
  if (scalar) check(near(found.gradient, expected.gradient, gradient_near, floor), "the gradient");
  turns = Turns::backwards;
  check(!forward(call, true, scalar, &again), "forward, turned round");
  check(again.loss == found.loss && again.log_sum_exp == found.log_sum_exp &&
            again.hit == found.hit && (!scalar || again.gradient == found.gradient),
        "whose turn comes first changes no bit");
  again.loss.poison();
  check(!forward(call, false, false, &again), "the loss alone");
  check(again.loss == found.loss, "the loss alone is the same");
  Array upstream(wide_of(call.y_pred_dtype), expected.loss.count());
  upstream.fill(false);
  found.gradient.poison();
  check(!fastloss_rowwise_backward(&call, upstream.data(), expected.gradient.data()), "on the CPU");
  turns = Turns::forwards;
  check(!backward(call, upstream, &found), "backward");
  check(near(found.gradient, expected.gradient, gradient_near, floor),
        "the gradient from upstream");
  if (!found.gradient.count()) return;
  std::memcpy(again.gradient.data(), call.y_pred, size_t(again.gradient.bytes()));
  call.y_pred = again.gradient.data();
  turns = Turns::backwards;
  check(!backward(call, upstream, &again), "backward in place, turned round");
  check(again.gradient == found.gradient, "in place gives the same gradient");
}

fastloss_rowwise call_of(const Loss& loss, int32_t label, int32_t prediction,
                         const int64_t (&shape)[3]) {
  fastloss_rowwise call{};
  call.loss = loss.name.c_str();
  call.parameters = loss.parameters;
  call.parameter_count = loss.count;
  call.replicas = 2;
  call.reduction = FASTLOSS_SUM;
  call.y_true_dtype = label, call.y_pred_dtype = prediction;
  call.outer = shape[0], call.classes = shape[1], call.inner = shape[2];
  call.temperature = 1;
  return call;
}

void fill_predictions(const Loss& loss, Array* x) {
  x->fill(false);
  if (loss.logits)
    for (int64_t i = 0; i < x->count(); ++i) x->put(i, std::floor(uniform() * 256) / 16 - 8);
}

void fill_labels(const Loss& loss, int64_t classes, Array* y) {
  const bool whole = y->dtype() != FASTLOSS_FLOAT32 && y->dtype() != FASTLOSS_FLOAT64 &&
                     y->dtype() != FASTLOSS_FLOAT16 && y->dtype() != FASTLOSS_BFLOAT16;
  // Classes that every dtype holds.
  const int64_t most = std::min<int64_t>(classes, y->dtype() == FASTLOSS_BOOL ? 2 : 127);
  for (int64_t i = 0; i < y->count(); ++i)
    y->put(i, loss.sparse ? int(uniform() * most)
              : whole     ? uniform() < 0.5
                          : 0.25 + int(uniform() * 32) / 64.0);
}

const int32_t kPredictions[] = {FASTLOSS_FLOAT32, FASTLOSS_BFLOAT16, FASTLOSS_FLOAT64,
                                FASTLOSS_FLOAT16};
const int32_t kLabels[] = {FASTLOSS_INT32,  FASTLOSS_FLOAT32, FASTLOSS_UINT8,    FASTLOSS_INT64,
                           FASTLOSS_UINT16, FASTLOSS_FLOAT64, FASTLOSS_BFLOAT16, FASTLOSS_INT8,
                           FASTLOSS_UINT32, FASTLOSS_FLOAT16, FASTLOSS_UINT64,   FASTLOSS_INT16,
                           FASTLOSS_BOOL};
const int64_t kShapes[][3] = {
    // In registers, of one lane to 32.
    {0, 3, 1},
    {3, 0, 1},
    {7, 1, 1},
    {300, 3, 1},
    {41, 8, 1},
    {70, 10, 1},
    {33, 65, 1},
    {9, 256, 1},
    // Of a warp, of a block, and of a larger one.
    {9, 257, 1},
    {3, 512, 1},
    {3, 513, 1},
    {9, 1024, 1},
    {2, 1025, 1},
    {2, 2048, 1},
    {2, 2049, 1},
    {2, 4097, 1},
    {1, 8192, 1},
    {1, 8193, 1},
    {1, 16384, 1},
    {2, 16387, 1},
    // Apart.
    {2, 5, 7},
    {0, 5, 7},
    {2, 0, 3},
    {3, 20, 33},
    {1, 300, 2},
    {2, 4, 256},
    {1, 3, 301},
};
constexpr size_t kShapeCount = sizeof(kShapes) / sizeof(*kShapes);

void check_loss(const Loss& loss, int32_t prediction, int32_t label, const int64_t (&shape)[3],
                int offset) {
  const int64_t rows = shape[0] * shape[2], classes = shape[1];
  context = loss.name + ", y_true " + std::to_string(label) + ", y_pred " +
            std::to_string(prediction) + ", (" + std::to_string(shape[0]) + ", " +
            std::to_string(classes) + ", " + std::to_string(shape[2]) + "), offset " +
            std::to_string(offset);
  const int32_t wide = wide_of(prediction);
  Array y_true(label, loss.sparse ? rows : rows * classes, (offset + 1) % 3);
  Array y_pred(prediction, rows * classes, offset);
  Array weight(wide, rows), class_weight(wide, classes);
  fill_labels(loss, classes, &y_true), fill_predictions(loss, &y_pred);
  weight.fill(false), class_weight.fill(false);
  fastloss_rowwise call = call_of(loss, label, prediction, shape);
  call.y_true = y_true.data(), call.y_pred = y_pred.data();
  check_call(call, offset);
  call.reduction = FASTLOSS_MEAN;
  if (loss.logits) call.temperature = 2, call.z_loss = 0.01;
  check_call(call, (offset + 3) % 5);
  const bool labels_are_logits = loss.name.find("divergence") != std::string::npos;
  if (!labels_are_logits) {
    call.class_weight = class_weight.data();
    call.label_smoothing = loss.name.find("generalized") != std::string::npos ? 0 : 0.1;
  }
  if (loss.logits) call.logit_softcap = 3;
  call.weight = weight.data(), call.weight_count = rows, call.weight_repeat = 1;
  call.has_ignore_class = 1;
  call.ignore_class = loss.sparse ? 1 : 0;
  if (!loss.sparse)
    // The last row has its labels in the ignored class.
    for (int64_t c = 1; c < classes && rows; ++c)
      y_true.put((shape[0] - 1) * classes * shape[2] + c * shape[2] + shape[2] - 1, 0);
  call.reduction = FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
  call.weight_expansion = 3;
  check_call(call, offset);
  call.reduction = FASTLOSS_MEAN;
  check_call(call, offset);
  call.label_smoothing = 0;
  call.reduction = FASTLOSS_NONE;
  check_call(call, offset);
  call.has_ignore_class = 0;
  call.reduction = FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
  check_call(call, offset);
}

// Under the sanitizers, which look at the accesses of a way to walk, of the many cases a part:
// every length in some dtype.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kTurns = 1, kShare = 3;
#else
constexpr size_t kTurns = 3, kShare = 1;
#endif

// Each loss and dtype meets some of the shapes, each shape all dtypes of labels.
void check_losses() {
  size_t turn = 0;
  for (const Loss& loss : losses())
    for (const int32_t prediction : kPredictions)
      for (size_t k = 0; k < kTurns; ++k, ++turn) {
        // Far apart, so that each loss meets every way to walk.
        const auto& shape = kShapes[(7 * turn + turn / kShapeCount) % kShapeCount];
        int32_t label = kLabels[turn % 13];
        // Sparse labels of few dtypes hold few classes, which rows of one class lack.
        if (loss.sparse && !shape[1]) continue;
        // With a little room, most of a row is read again.
        room = turn % 3 == 2 ? 20 << 10 : 225 << 10;
        if (shape[2] == 1 && shape[1] <= 256) room = 225 << 10;
        check_loss(loss, prediction, label, shape, int(turn % 5));
      }
  room = 225 << 10;
}

// The two that matter most, over all shapes.
void check_shapes() {
  for (const Loss& loss : losses()) {
    if (loss.name != "sparse_categorical_crossentropy_from_logits" &&
        loss.name != "categorical_crossentropy_from_logits")
      continue;
    for (size_t s = 0; s < kShapeCount; ++s)
      for (size_t p = 0; p < 3; ++p) {
        if ((loss.sparse && !kShapes[s][1]) || (s + p) % kShare) continue;
        const int32_t prediction = kPredictions[p];
        const int32_t label = loss.sparse ? FASTLOSS_INT32 : prediction;
        check_loss(loss, prediction, label, kShapes[s], int((3 * s + p) % 7));
      }
  }
}

// A row has the same bits wherever it stands, whatever stands beside it, and however much shared
// memory there is.
void check_rows_apart() {
  size_t turn = 0;
  for (const Loss& loss : losses())
    for (const int32_t prediction : {FASTLOSS_BFLOAT16, FASTLOSS_FLOAT32, FASTLOSS_FLOAT64})
      for (const int64_t classes : {3, 10, 131, 259, 1027, 2053, 8209, 16395}) {
        // 8 lengths, which is no multiple of 3: each dtype meets others.
        if (turn++ % kShare) continue;
        if (classes > 2053 && loss.name.find("crossentropy_from_logits") == std::string::npos)
          continue;
        const int64_t rows = 9, shape[3] = {rows, classes, 1};
        context = loss.name + ", equal rows of " + std::to_string(classes) + ", y_pred " +
                  std::to_string(prediction);
        const int32_t label = loss.sparse ? FASTLOSS_INT16 : FASTLOSS_FLOAT32;
        const int64_t labels = loss.sparse ? 1 : classes;
        Array y_true(label, rows * labels), y_pred(prediction, rows * classes, 1);
        Array one_label(label, labels), one(prediction, classes);
        fill_labels(loss, classes, &one_label), fill_predictions(loss, &one);
        const auto repeat = [&](const Array& from, Array& to) {
          for (int64_t row = 0; row < rows; ++row)
            std::memcpy(static_cast<char*>(to.data()) + row * from.bytes(),
                        const_cast<Array&>(from).data(), size_t(from.bytes()));
        };
        repeat(one_label, y_true), repeat(one, y_pred);
        fastloss_rowwise call = call_of(loss, label, prediction, shape);
        call.y_true = y_true.data(), call.y_pred = y_pred.data();
        Outputs sum(call, 3);
        check(!forward(call, true, true, &sum), "forward");
        if (classes > 1027) {
          room = 8 << 10;
          Outputs scarce(call, 3);
          check(!forward(call, true, true, &scarce), "forward, of which little is kept");
          check(scarce.loss == sum.loss && scarce.gradient == sum.gradient,
                "the room changes no bit");
          room = 225 << 10;
        }
        call.reduction = FASTLOSS_NONE;
        Outputs each(call, 0);
        check(!forward(call, false, false, &each), "forward");
        const char* const slopes = static_cast<const char*>(sum.gradient.data());
        const int64_t bytes = one.bytes();
        for (int64_t row = 1; row < rows; ++row) {
          check(each.loss.at(row) == each.loss.at(0), "equal rows have equal losses");
          check(!std::memcmp(slopes + row * bytes, slopes, size_t(bytes)),
                "equal rows have equal gradients");
        }
      }
}

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
          // With nothing but -infinity and NaN, a vector that is filled up may have the largest.
          for (int64_t row = 0; row < rows; ++row)
            if (row / inner != 4 && row / inner != 5)
              check(found.hits()[row] == expected.hits()[row], "a hit");
          for (int64_t row = 0; row < rows; ++row) {
            const double x = found.loss.at(row), y = expected.loss.at(row);
            // Of rows without a largest number both have something that is not finite.
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

// A label that is no class makes NaN of its row, and of nothing else.
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

// No row counts: no loss, no gradient.
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

void check_accumulate() {
  context = "accumulate";
  for (const int32_t dtype : kPredictions)
    for (const int64_t count : {0, 1, 5, 3001}) {
      Array part(dtype, count, 1), total(wide_of(dtype), count, 3), before(wide_of(dtype), count);
      part.fill(false), total.fill(false), before.copy(total);
      check(!fastloss_cuda_accumulate(dtype, count, part.data(), total.data(), nullptr), "a sum");
      for (int64_t i = 0; i < count; ++i)
        check(total.at(i) == before.at(i) + part.at(i), "an element of it");
    }
  float x = 0;
  check(fastloss_cuda_accumulate(FASTLOSS_INT32, 1, &x, &x, nullptr) == -1, "integers");
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
  check_losses();
  check_shapes();
  check_rows_apart();
  check_special_values();
  check_bad_labels();
  check_all_ignored();
  check_accumulate();
  check_refusals();
  std::printf("%d passed, %d failed; %lld kernels\n", checks - failures, failures,
              static_cast<long long>(fastloss::cuda::launches));
  return failures != 0;
}
