#include <algorithm>

#include "cuda/common/reduce.h"
#include "cuda/common/summary.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads) summarize(const __grid_constant__ Summary<T> summary) {
  double loss = 0;
  for (int k = 0; k < summary.count; ++k) {
    const double sum = block_sum_of(summary.partials + k * summary.pieces, summary.pieces);
    const double factor = summary.factor ? double(summary.factor[k]) : 1;
    loss += sum * summary.inverse(factor * summary.loss_scale[k]);
    if (threadIdx.x == 0 && summary.term_values)
      summary.term_values[k] =
          summary.empty ? T(0) : T(sum * summary.inverse(summary.term_scale[k]));
  }
  if (threadIdx.x == 0) *summary.loss = summary.empty ? T(0) : T(loss);
}

template <class T>
__global__ void __launch_bounds__(kThreads) fill(const T value, T* const out, const int64_t count) {
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += int64_t(gridDim.x) * kThreads)
    out[i] = value;
}

}  // namespace

template <class T>
int launch_summary(const Summary<T>& summary, void* stream) {
  return launch(summarize<T>, 1, kThreads, 0, stream, summary);
}

template <class T>
int launch_fill(T value, T* out, int64_t count, void* stream) {
  const int64_t blocks = (count + kThreads - 1) / kThreads;
  return launch(fill<T>, std::min(blocks, int64_t(1) << 16), kThreads, 0, stream, value, out,
                count);
}

template int launch_summary(const Summary<float>&, void*);
template int launch_summary(const Summary<double>&, void*);
template int launch_fill(float, float*, int64_t, void*);
template int launch_fill(double, double*, int64_t, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
