// Numbers repeated along dimensions: each lands where counting by hand puts it, and nowhere else.
#include <cstdio>
#include <vector>

#include "api/fastloss_cuda.h"
#include "cuda_on_host.h"

namespace {

int failures = 0, checks = 0;

using Numbers = std::vector<int64_t>;

template <class T>
void check(int32_t dtype, const Numbers& dims, const Numbers& strides) {
  int64_t count = 1, last = 0;
  for (const int64_t dim : dims) count *= dim;
  for (size_t k = 0; k < dims.size(); ++k)
    if (dims[k]) last += (dims[k] - 1) * strides[k];
  std::vector<T> from(static_cast<size_t>(last) + 1), to(static_cast<size_t>(count) + 1, T(-1));
  for (size_t i = 0; i < from.size(); ++i) from[i] = T(i);
  ++checks;
  if (fastloss_cuda_expand(dtype, static_cast<int32_t>(dims.size()), dims.data(), strides.data(),
                           from.data(), to.data(), nullptr)) {
    ++failures;
    std::printf("FAILED: %s\n", fastloss_cuda_error());
    return;
  }
  bool same = to.back() == T(-1);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, j = 0;
    for (size_t k = dims.size(); k-- > 0;) {
      j += rest % dims[k] * strides[k];
      rest /= dims[k];
    }
    same &= to[static_cast<size_t>(i)] == from[static_cast<size_t>(j)];
  }
  if (same) return;
  ++failures;
  std::printf("FAILED: %zu dimensions, %lld numbers\n", dims.size(), static_cast<long long>(count));
}

void check_refused(int32_t dtype, const Numbers& dims) {
  float number = 0;
  const Numbers strides(dims.size());
  ++checks;
  if (fastloss_cuda_expand(dtype, static_cast<int32_t>(dims.size()), dims.data(), strides.data(),
                           &number, &number, nullptr) == -1)
    return;
  ++failures;
  std::printf("FAILED: dtype %d was not refused\n", dtype);
}

}  // namespace

int main() {
  const struct {
    Numbers dims, strides;
  } cases[] = {
      {{}, {}},                                   // one number
      {{5}, {1}},                                 // a copy
      {{5}, {0}},                                 // one number, repeated
      {{100003}, {1}},                            // several blocks
      {{2, 0, 3}, {3, 0, 1}},                     // nothing
      {{4, 3}, {0, 1}},                           // rows repeated
      {{4, 3}, {1, 0}},                           // each repeated
      {{2, 4, 3}, {3, 0, 1}},                     // in no regular way
      {{2, 4, 1, 3, 5}, {3, 0, 7, 1, 0}},         // the same, and a dimension of 1
      {{3, 2, 4}, {8, 4, 1}},                     // dimensions that are one
      {{3, 2, 4}, {0, 0, 0}},                     // repeated along all
      {{7, 3, 2, 5, 3, 2}, {0, 20, 0, 4, 0, 2}},  // by turns, with steps
      {Numbers(16, 2), {0, 1, 0, 2, 0, 4, 0, 8, 0, 16, 0, 32, 0, 64, 0, 128}},
  };
  for (const auto turns : {fastloss::cuda::Turns::forwards, fastloss::cuda::Turns::backwards}) {
    fastloss::cuda::turns = turns;
    for (const auto& each : cases) {
      check<float>(FASTLOSS_FLOAT32, each.dims, each.strides);
      check<double>(FASTLOSS_FLOAT64, each.dims, each.strides);
    }
  }
  check_refused(FASTLOSS_FLOAT16, {2});
  check_refused(FASTLOSS_FLOAT32, {2, -1});
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures != 0;
}
