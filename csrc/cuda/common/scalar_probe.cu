// The functions of scalar.h applied to arrays, so that tests can measure their error on a GPU.
#include <algorithm>
#include <cstring>

#include "api/fastloss_cuda.h"
#include "cuda/common/device.h"
#include "cuda/common/layout.h"
#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

using detail::exp_flushed;

template <class T, class Function>
__global__ void __launch_bounds__(kThreads)
    apply(const T* const x, const T* const y, T* const out, const int64_t count) {
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += int64_t(gridDim.x) * kThreads)
    out[i] = Function::at(x, y, i);
}

template <class T, class Function>
int start(const void* x, const void* y, void* out, int64_t count, void* stream) {
  const int64_t blocks = std::min((count + kThreads - 1) / kThreads, int64_t(1) << 16);
  return launch(apply<T, Function>, blocks, kThreads, 0, stream, static_cast<const T*>(x),
                static_cast<const T*>(y), static_cast<T*>(out), count);
}

#define FASTLOSS_UNARY(NAME)                                       \
  struct Probe_##NAME {                                            \
    template <class T>                                             \
    static FASTLOSS_INLINE T at(const T* x, const T*, int64_t i) { \
      return NAME(x[i]);                                           \
    }                                                              \
  };
#define FASTLOSS_BINARY(NAME)                                        \
  struct Probe_##NAME {                                              \
    template <class T>                                               \
    static FASTLOSS_INLINE T at(const T* x, const T* y, int64_t i) { \
      return NAME(x[i], y[i]);                                       \
    }                                                                \
  };
FASTLOSS_UNARY(exp)
FASTLOSS_UNARY(exp_flushed)
FASTLOSS_UNARY(expm1)
FASTLOSS_UNARY(log)
FASTLOSS_UNARY(log1p)
FASTLOSS_UNARY(tanh)
FASTLOSS_UNARY(sigmoid)
FASTLOSS_UNARY(softplus)
FASTLOSS_UNARY(log_sigmoid)
FASTLOSS_UNARY(abs)
FASTLOSS_BINARY(pow)
FASTLOSS_BINARY(atan2)
FASTLOSS_BINARY(min)
FASTLOSS_BINARY(max)
#undef FASTLOSS_UNARY
#undef FASTLOSS_BINARY

struct Entry {
  const char* name;
  int (*start_float)(const void*, const void*, void*, int64_t, void*);
  int (*start_double)(const void*, const void*, void*, int64_t, void*);
};
#define FASTLOSS_ENTRY(NAME) {#NAME, start<float, Probe_##NAME>, start<double, Probe_##NAME>}
const Entry kEntries[] = {
    FASTLOSS_ENTRY(exp),     FASTLOSS_ENTRY(exp_flushed), FASTLOSS_ENTRY(expm1),
    FASTLOSS_ENTRY(log),     FASTLOSS_ENTRY(log1p),       FASTLOSS_ENTRY(tanh),
    FASTLOSS_ENTRY(sigmoid), FASTLOSS_ENTRY(softplus),    FASTLOSS_ENTRY(log_sigmoid),
    FASTLOSS_ENTRY(abs),     FASTLOSS_ENTRY(pow),         FASTLOSS_ENTRY(atan2),
    FASTLOSS_ENTRY(min),     FASTLOSS_ENTRY(max),
};
#undef FASTLOSS_ENTRY

}  // namespace
}  // namespace FASTLOSS_ISA
}  // namespace fastloss

int fastloss_cuda_scalar(const char* function, int32_t dtype, const void* x, const void* y,
                         void* out, int64_t count, void* stream) {
  using namespace fastloss;
  if (dtype != FASTLOSS_FLOAT32 && dtype != FASTLOSS_FLOAT64)
    return fail("dtype code %d; expected float32 or float64", dtype);
  for (const cuda::Entry& entry : cuda::kEntries) {
    if (std::strcmp(entry.name, function)) continue;
    if (!count) return 0;
    return (dtype == FASTLOSS_FLOAT64 ? entry.start_double : entry.start_float)(x, y, out, count,
                                                                                stream);
  }
  return fail("scalar function '%s' is unknown", function);
}
