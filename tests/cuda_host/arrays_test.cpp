// The functions of the CUDA sources on whole arrays, run on the host: scale, accumulate, scalars.
#include "arrays.h"

namespace {

const int32_t kPredictions[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                                FASTLOSS_BFLOAT16};

void check_scale() {
  context = "scale";
  for (const int32_t dtype : kPredictions)
    for (const int64_t count : {0, 1, 5, 3001})
      for (const double factor : {1.0, 0.5}) {
        const int32_t wide = wide_of(dtype);
        Array x(dtype, count, 1), out(dtype, count, 1), upstream(wide, 1);
        x.fill(false), upstream.put(0, factor);
        check(!fastloss_cuda_scale(dtype, count, x.data(), upstream.data(), out.data(), nullptr),
              "scale");
        for (int64_t i = 0; i < count; ++i) check(out.at(i) == factor * x.at(i), "a product");
        check(!fastloss_cuda_scale(dtype, count, x.data(), upstream.data(), x.data(), nullptr),
              "scale in place");
        check(x == out, "in place gives the same");
      }
  float x = 0;
  check(fastloss_cuda_scale(FASTLOSS_INT32, 1, &x, &x, &x, nullptr) == -1, "an integer gradient");
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

void check_scalars() {
  const float x[] = {-2, -0.5f, 0.25f, 3};
  const float y[] = {1, 2, 0.5f, -1};
  for (const char* name : {"exp", "exp_flushed", "expm1", "log", "log1p", "tanh", "sigmoid",
                           "softplus", "log_sigmoid", "abs", "pow", "atan2", "min", "max"}) {
    context = name;
    float found[4], expected[4];
    check(!fastloss_cuda_scalar(name, FASTLOSS_FLOAT32, x, y, found, 4, nullptr), "a function");
    check(!fastloss_scalar(name, "", FASTLOSS_FLOAT32, x, y, expected, 4), "on the CPU");
    for (int i = 0; i < 4; ++i) check(close(found[i], expected[i], 1e-6), "its value");
  }
  check(fastloss_cuda_scalar("sine", FASTLOSS_FLOAT32, x, y, nullptr, 4, nullptr) == -1,
        "an unknown function");
}

}  // namespace

int main() {
  check_scale();
  check_accumulate();
  check_scalars();
  return report();
}
