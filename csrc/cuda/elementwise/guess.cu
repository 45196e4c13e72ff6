#include "cuda/elementwise/guess.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int64_t kGuessLabels = 512;

template <class T>
__global__ void __launch_bounds__(kThreads) guess_labels(const ElementwisePass<T> pass) {
  using Layout = Tile<sizeof(T), 1>;
  const int64_t end = pass.elements < kGuessLabels ? pass.elements : kGuessLabels;
  int others = 0;
  for (int64_t begin = 0; begin < end; begin += Layout::kElements) {
    RawVectors<1, Layout::kWidth> raw;
    const int64_t first[1] = {begin + Layout::first(static_cast<int>(threadIdx.x), 0)};
    T label[Layout::kWidth];
    raw.load_any(pass.y_true_size, pass.y_true, first, begin, end);
    raw.widen_any(pass.y_true_dtype, label);
    // Elements beyond the end are loaded as 0.
    FASTLOSS_UNROLL
    for (int i = 0; i < Layout::kWidth; ++i) others |= !(label[i] == T(0) || label[i] == T(1));
  }
  others = block_sum(others);
  if (threadIdx.x) return;
  pass.guess->binary = others == 0;
  pass.guess->violated = 0;
}

}  // namespace

template <class T>
int launch_guess(const ElementwisePass<T>& pass, void* stream) {
  return launch(guess_labels<T>, 1, kThreads, 0, stream, pass);
}

template int launch_guess(const ElementwisePass<float>&, void*);
template int launch_guess(const ElementwisePass<double>&, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
