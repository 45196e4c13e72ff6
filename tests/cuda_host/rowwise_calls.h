// What the tests of the rowwise losses of the CUDA sources share: calls of every loss, compared
// with the CPU.
#pragma once

#include <algorithm>
#include <vector>

#include "arrays.h"

namespace {

struct Loss {
  std::string name;
  double parameters[4];
  int count;
  bool sparse, logits;
};

// Of fastloss_rowwise_losses(), with parameters by their names.
inline std::vector<Loss> losses() {
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

// Errors are relative to the largest number, as sums in different orders cancel differently.
inline bool near(const Array& x, const Array& y, double tolerance, double floor = 1e-3) {
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

inline double loss_tolerance(int32_t dtype) { return dtype == FASTLOSS_FLOAT64 ? 1e-12 : 4e-6; }
inline double gradient_tolerance(int32_t dtype) {
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

inline int forward(const fastloss_rowwise& call, bool metrics, bool gradient, Outputs* out) {
  const int64_t bytes = fastloss_cuda_rowwise_scratch(&call);
  check(bytes >= 0 && bytes % 8 == 0, "scratch");
  Array scratch(FASTLOSS_FLOAT64, bytes / 8);
  return fastloss_cuda_rowwise_forward(&call, out->loss.data(),
                                       gradient ? out->gradient.data() : nullptr,
                                       metrics ? out->log_sum_exp.data() : nullptr,
                                       metrics ? out->hits() : nullptr, scratch.data(), nullptr);
}

inline int backward(const fastloss_rowwise& call, Array& upstream, Outputs* out) {
  Array scratch(FASTLOSS_FLOAT64, fastloss_cuda_rowwise_scratch(&call) / 8);
  return fastloss_cuda_rowwise_backward(&call, upstream.data(), out->gradient.data(),
                                        scratch.data(), nullptr);
}

// One call, in all its forms: with all outputs and alone, in slice, and with other turns.
inline void check_call(fastloss_rowwise call, int offset) {
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
  check(!forward(call, true, scalar, &again), "forward, backwards");
  check(again.loss == found.loss && again.log_sum_exp == found.log_sum_exp &&
            again.hit == found.hit && (!scalar || again.gradient == found.gradient),
        "the order of threads changes no bit");
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
  check(!backward(call, upstream, &again), "backward in slice, turned round");
  check(again.gradient == found.gradient, "in slice gives the same gradient");
}

inline fastloss_rowwise call_of(const Loss& loss, int32_t label, int32_t prediction,
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

inline void fill_predictions(const Loss& loss, Array* x) {
  x->fill(false);
  if (loss.logits)
    for (int64_t i = 0; i < x->count(); ++i) x->put(i, std::floor(uniform() * 256) / 16 - 8);
}

inline void fill_labels(const Loss& loss, int64_t classes, Array* y) {
  const bool whole = y->dtype() != FASTLOSS_FLOAT32 && y->dtype() != FASTLOSS_FLOAT64 &&
                     y->dtype() != FASTLOSS_FLOAT16 && y->dtype() != FASTLOSS_BFLOAT16;
  // Classes that every dtype holds.
  const int64_t most = std::min<int64_t>(classes, y->dtype() == FASTLOSS_BOOL ? 2 : 127);
  for (int64_t i = 0; i < y->count(); ++i)
    y->put(i, loss.sparse ? int(uniform() * most)
              : whole     ? uniform() < 0.5
                          : 0.25 + int(uniform() * 32) / 64.0);
}

}  // namespace
