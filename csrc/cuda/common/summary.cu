#include <algorithm>

#include "cuda/common/summary.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads) guess_labels(const ElementwiseWalk<T> walk) {
  using Layout = Tile<sizeof(T), 1>;
  const int64_t end = walk.elements < kGuessLabels ? walk.elements : kGuessLabels;
  int others = 0;
  for (int64_t begin = 0; begin < end; begin += Layout::kElements) {
    RawVectors<1, Layout::kWidth> raw;
    const int64_t first[1] = {begin + Layout::first(static_cast<int>(threadIdx.x), 0)};
    T label[Layout::kWidth];
    raw.load_any(walk.y_true_size, walk.y_true, first, begin, end);
    raw.widen_any(walk.y_true_dtype, label);
    // What lies behind the end came as 0.
    FASTLOSS_UNROLL
    for (int i = 0; i < Layout::kWidth; ++i) others |= !(label[i] == T(0) || label[i] == T(1));
  }
  others = block_sum(others);
  if (threadIdx.x) return;
  walk.guess->binary = others == 0;
  walk.guess->violated = 0;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_weights(const T* const weight, const Divisor divisor) {
  const int64_t begin = divisor.pieces.begin(blockIdx.x);
  const double sum = block_sum_of(weight + begin, divisor.pieces.end(blockIdx.x) - begin);
  if (threadIdx.x == 0) divisor.partials[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) invert(const Divisor divisor) {
  const double sum = block_sum_of(divisor.partials, divisor.pieces.count) * divisor.multiplier;
  if (threadIdx.x == 0) *divisor.inverse = sum == 0 ? 0 : 1 / sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    summarize(const __grid_constant__ Summary<T> summary, const ElementwiseWalk<T> walk) {
  double loss = 0;
  for (int k = 0; k < summary.count; ++k) {
    const double sum = block_sum_of(walk.partials + k * summary.pieces, summary.pieces);
    const double factor = summary.factor ? double(summary.factor[k]) : 1;
    loss += sum * walk.reduction(factor * summary.of_loss[k]);
    if (threadIdx.x == 0 && summary.term_values)
      summary.term_values[k] = summary.empty ? T(0) : T(sum * walk.reduction(summary.of_term[k]));
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
int launch_guess(const ElementwiseWalk<T>& walk, void* stream) {
  return launch(guess_labels<T>, 1, kThreads, 0, stream, walk);
}

int launch_invert(const Divisor& divisor, void* stream) {
  return launch(invert, 1, kThreads, 0, stream, divisor);
}

template <class T>
int launch_divisor(const T* weight, const Divisor& divisor, void* stream) {
  if (launch(add_weights<T>, divisor.pieces.count, kThreads, 0, stream, weight, divisor)) return -1;
  return launch_invert(divisor, stream);
}

template <class T>
int launch_summary(const Summary<T>& summary, const ElementwiseWalk<T>& walk, void* stream) {
  return launch(summarize<T>, 1, kThreads, 0, stream, summary, walk);
}

template <class T>
int launch_fill(T value, T* out, int64_t count, void* stream) {
  const int64_t blocks = (count + kThreads - 1) / kThreads;
  return launch(fill<T>, std::min(blocks, int64_t(1) << 16), kThreads, 0, stream, value, out,
                count);
}

#define FASTLOSS_SUMMARY(T)                                                         \
  template int launch_guess(const ElementwiseWalk<T>&, void*);                      \
  template int launch_divisor(const T*, const Divisor&, void*);                     \
  template int launch_summary(const Summary<T>&, const ElementwiseWalk<T>&, void*); \
  template int launch_fill(T, T*, int64_t, void*);
FASTLOSS_SUMMARY(float)
FASTLOSS_SUMMARY(double)
#undef FASTLOSS_SUMMARY

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
