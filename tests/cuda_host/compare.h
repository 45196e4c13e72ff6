// A call of the CUDA sources, run on the host, against the same call on the CPU, in all its forms.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "arrays.h"

namespace {

// Errors are relative to the largest number, as sums in different orders cancel differently.
inline bool near(const Array& x, const Array& y, double tolerance) {
  double largest = 0;
  for (int64_t i = 0; i < y.count(); ++i)
    if (std::isfinite(y.at(i))) largest = std::max(largest, std::fabs(y.at(i)));
  for (int64_t i = 0; i < x.count(); ++i) {
    const double found = x.at(i), expected = y.at(i);
    if (found == expected || (found != found && expected != expected)) continue;
    if (!(std::fabs(found - expected) <= tolerance * (largest + 1e-4))) return false;
  }
  return true;
}

template <class Call>
struct Pattern {
  int64_t (*scratch)(const Call*);
  std::function<int(const Call*, void* loss, void* values, void* gradient, void* scratch)> forward;
  std::function<int(const Call*, const void* upstream, void* gradient, void* scratch)> backward;
  std::function<int(const Call*, void* loss, void* values, void* gradient)> cpu_forward;
  int (*cpu_backward)(const Call*, const void* upstream, void* gradient);
};

// How many numbers the outputs of a call have.
struct Outputs {
  int64_t losses, values, elements;
};

template <class Call>
class Comparison {
 public:
  Comparison(const Pattern<Call>& pattern, const Call& call, Outputs outputs, int offset)
      : pattern_(pattern),
        call_(call),
        outputs_(outputs),
        wide_(wide_of(call.y_pred_dtype)),
        loss_tolerance_(wide_ == FASTLOSS_FLOAT64 ? 1e-11 : 2e-5),
        gradient_tolerance_(std::max(loss_tolerance_, tolerance_of(call.y_pred_dtype))),
        offset_(offset) {}

  void run() {
    const bool scalar = call_.reduction != FASTLOSS_NONE;
    Results expected(*this), found(*this), again(*this);
    for (const bool with_gradient : {false, true}) {
      if (with_gradient && !scalar) continue;
      check(!pattern_.cpu_forward(&call_, expected.loss.data(),
                                  scalar ? expected.values.data() : nullptr,
                                  with_gradient ? expected.gradient.data() : nullptr),
            "on the CPU");
      check(!forward(call_, with_gradient, Turns::forwards, &found), "forward");
      check(near(found.loss, expected.loss, loss_tolerance_), "the loss");
      if (scalar) check(near(found.values, expected.values, loss_tolerance_), "the terms' values");
      if (with_gradient)
        check(near(found.gradient, expected.gradient, gradient_tolerance_), "the gradient");
      check(!forward(call_, with_gradient, Turns::backwards, &again), "forward, backwards");
      check(again.loss == found.loss && (!scalar || again.values == found.values) &&
                (!with_gradient || again.gradient == found.gradient),
            "the order of threads changes no bit");
    }
    Array upstream(wide_, outputs_.losses);
    upstream.fill(false);
    found.gradient.poison();
    check(!pattern_.cpu_backward(&call_, upstream.data(), expected.gradient.data()), "on the CPU");
    check(!backward(call_, upstream, &found), "backward");
    check(near(found.gradient, expected.gradient, gradient_tolerance_),
          "the gradient from upstream");
    if (!outputs_.elements) return;
    Call in_place = call_;
    std::memcpy(again.gradient.data(), call_.y_pred, size_t(again.gradient.bytes()));
    in_place.y_pred = again.gradient.data();
    check(!backward(in_place, upstream, &again), "backward in place");
    check(again.gradient == found.gradient, "in place gives the same gradient");
  }

 private:
  struct Results {
    Array loss, values, gradient;
    explicit Results(const Comparison& of)
        : loss(of.wide_, of.outputs_.losses),
          values(of.wide_, of.outputs_.values),
          gradient(of.call_.y_pred_dtype, of.outputs_.elements, of.offset_) {}
  };

  int forward(const Call& call, bool with_gradient, Turns order, Results* results) {
    turns = order;
    Array scratch(FASTLOSS_FLOAT64, scratch_of(call));
    return pattern_.forward(&call, results->loss.data(),
                            call.reduction != FASTLOSS_NONE ? results->values.data() : nullptr,
                            with_gradient ? results->gradient.data() : nullptr, scratch.data());
  }

  int backward(const Call& call, Array& upstream, Results* results) {
    Array scratch(FASTLOSS_FLOAT64, scratch_of(call));
    return pattern_.backward(&call, upstream.data(), results->gradient.data(), scratch.data());
  }

  int64_t scratch_of(const Call& call) {
    const int64_t bytes = pattern_.scratch(&call);
    check(bytes >= 0 && bytes % 8 == 0, "scratch");
    return bytes / 8;
  }

  const Pattern<Call>& pattern_;
  const Call call_;
  const Outputs outputs_;
  const int32_t wide_;
  const double loss_tolerance_, gradient_tolerance_;
  const int offset_;
};

// The bits of a result do not depend on the alignment of the arrays.
template <class Call>
void check_moved(const Pattern<Call>& pattern, Call call, Outputs outputs, int64_t labels) {
  const int32_t dtype = call.y_pred_dtype;
  const int32_t wide = wide_of(dtype);
  Array loss(wide, outputs.losses), gradient(dtype, outputs.elements);
  const void* const y_true = call.y_true;
  const void* const y_pred = call.y_pred;
  for (int offset = 0; offset < 5; ++offset) {
    Array moved_true(call.y_true_dtype, labels, (offset + 1) / 2);
    Array moved_pred(dtype, outputs.elements, offset);
    std::memcpy(moved_true.data(), y_true, size_t(moved_true.bytes()));
    std::memcpy(moved_pred.data(), y_pred, size_t(moved_pred.bytes()));
    call.y_true = moved_true.data(), call.y_pred = moved_pred.data();
    Array moved_loss(wide, outputs.losses), moved(dtype, outputs.elements, offset);
    Array scratch(FASTLOSS_FLOAT64, pattern.scratch(&call) / 8);
    check(!pattern.forward(&call, moved_loss.data(), nullptr, moved.data(), scratch.data()),
          "forward");
    if (!offset) loss.copy(moved_loss), gradient.copy(moved);
    check(moved_loss == loss && moved == gradient, "alignment changes no bit");
  }
}

}  // namespace
