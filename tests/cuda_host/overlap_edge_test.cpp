// The overlap losses of the CUDA sources, run on the host: labels that are wrong or ignored, calls
// that are refused.
#include "overlap_calls.h"

namespace {

// A label that is not a class makes its image NaN, and changes no other.
void check_wrong_labels() {
  const Shape shape = {3, 50, 4, 1};
  for (const int32_t activation : {FASTLOSS_IDENTITY, FASTLOSS_SIGMOID, FASTLOSS_SOFTMAX})
    for (const double wrong : {-1.0, 4.0, 1e6})
      for (const bool is_fused : {false, true}) {
        if (is_fused && activation != FASTLOSS_SOFTMAX) continue;
        context = "a wrong label, activation " + std::to_string(activation);
        fastloss_overlap call = call_of(0, shape, FASTLOSS_INT32, FASTLOSS_FLOAT32);
        call.activation = activation, call.sparse = 1, call.per_outer = 1, call.per_class = 1;
        Array y_true(FASTLOSS_INT32, 150), y_pred(FASTLOSS_FLOAT32, 600);
        fill_labels(&y_true, call), y_pred.fill(false);
        call.y_true = y_true.data(), call.y_pred = y_pred.data();
        Array upstream(FASTLOSS_FLOAT32, 12), loss(FASTLOSS_FLOAT32, 12),
            good(FASTLOSS_FLOAT32, 12);
        Array gradient(FASTLOSS_FLOAT32, 600), good_gradient(FASTLOSS_FLOAT32, 600);
        Array scratch(FASTLOSS_FLOAT64, 4096);
        upstream.fill(false);
        if (is_fused) {
          call.fused_terms = kOfClasses, call.fused_term_count = 3;
          y_true.put(70, wrong);
          check(!kOverlap.forward(&call, loss.data(), nullptr, gradient.data(), scratch.data()),
                "forward");
          check(loss.at(0) != loss.at(0), "the sum with fused terms is NaN");
          for (int i = 0; i < 4; ++i)
            check(gradient.at(280 + i) != gradient.at(280 + i), "the gradient there is NaN");
          continue;
        }
        call.reduction = FASTLOSS_NONE;
        const auto run = [&](Array* losses, Array* slopes) {
          check(fastloss_cuda_overlap_scratch(&call) <= scratch.bytes(), "scratch");
          check(!kOverlap.forward(&call, losses->data(), nullptr, nullptr, scratch.data()),
                "forward");
          check(!kOverlap.backward(&call, upstream.data(), slopes->data(), scratch.data()),
                "backward");
        };
        run(&good, &good_gradient);
        y_true.put(70, wrong);
        run(&loss, &gradient);
        for (int i = 0; i < 12; ++i)
          check(i / 4 == 1 ? loss.at(i) != loss.at(i) : loss.at(i) == good.at(i), "a loss");
        for (int i = 0; i < 600; ++i)
          check(i / 200 == 1 ? gradient.at(i) != gradient.at(i)
                             : gradient.at(i) == good_gradient.at(i),
                "a slope");
      }
}

// Ignored positions may hold anything.
void check_ignored() {
  const Shape shape = {1, 40, 3, 1};
  for (const bool sparse : {false, true})
    for (const int32_t activation : {FASTLOSS_SIGMOID, FASTLOSS_SOFTMAX}) {
      context = "ignored positions, activation " + std::to_string(activation);
      fastloss_overlap call = call_of(0, shape, FASTLOSS_INT16, FASTLOSS_FLOAT32);
      call.activation = activation, call.sparse = sparse;
      call.has_ignore_class = 1, call.ignore_class = sparse ? -1 : 0;
      if (activation == FASTLOSS_SOFTMAX)
        call.fused_terms = fusable_terms_of(call), call.fused_term_count = 2;
      Array y_true(FASTLOSS_INT16, sparse ? 40 : 120), y_pred(FASTLOSS_FLOAT32, 120);
      fill_labels(&y_true, call), y_pred.fill(false);
      for (int i = 0; i < 40; i += 7) {
        if (sparse) y_true.put(i, -1);
        if (!sparse) y_true.put(3 * i, 1), y_true.put(3 * i + 1, 0), y_true.put(3 * i + 2, 0);
        y_pred.put(3 * i, NAN), y_pred.put(3 * i + 1, INFINITY);
      }
      call.y_true = y_true.data(), call.y_pred = y_pred.data();
      compare(call, shape, 0);
      // All of them.
      for (int64_t i = 0; i < y_true.count(); ++i) y_true.put(i, sparse ? -1 : 0);
      call.reduction = FASTLOSS_MEAN;
      compare(call, shape, 0);
    }
}

void check_refusals() {
  context = "refusals";
  Array x(FASTLOSS_FLOAT32, 12);
  x.fill(false);
  fastloss_overlap call = call_of(0, {1, 4, 3, 1}, FASTLOSS_FLOAT32, FASTLOSS_FLOAT32);
  call.y_true = call.y_pred = x.data();
  std::vector<fastloss_term> terms(FASTLOSS_CUDA_MAX_TERMS + 1, kOfElements[0]);
  call.fused_terms = terms.data();
  Array scratch(FASTLOSS_FLOAT64, 4096);
  float loss[4];
  const auto forward = [&](void* gradient) {
    return kOverlap.forward(&call, loss, nullptr, gradient, scratch.data());
  };
  check(!forward(nullptr), "a good call");
  call.fused_term_count = FASTLOSS_CUDA_MAX_TERMS;
  check(!forward(nullptr), "as many fused terms as a call takes");
  ++call.fused_term_count;
  check(forward(nullptr) == -1 && fastloss_cuda_overlap_scratch(&call) == -1,
        "too many fused terms");
  call.fused_term_count = 1;
  terms[0] = kOfRows[0];
  check(forward(nullptr) == -1, "a rowwise fused term without a softmax");
  call.activation = FASTLOSS_SOFTMAX;
  check(!forward(nullptr), "and after one");
  terms[0] = kOfClasses[0];
  check(forward(nullptr) == -1, "a fused term of class labels beside rows of them");
  call.fused_term_count = 0;
  call.reduction = FASTLOSS_NONE;
  check(forward(x.data()) == -1, "a gradient of each group's loss");
  call.loss = "overlap";
  check(forward(nullptr) == -1, "an unknown loss");
  check(std::strstr(fastloss_cuda_error(), "generalized_dice") != nullptr,
        "the error names others");
}

}  // namespace

int main() {
  check_wrong_labels();
  check_ignored();
  check_refusals();
  return report();
}
