#include "cuda/common/divisor.h"
#include "cuda/common/reduce.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_weights(const T* const weight, const DivisorSum divisor) {
  const int64_t begin = divisor.pieces.begin(blockIdx.x);
  const double sum = block_sum_of(weight + begin, divisor.pieces.end(blockIdx.x) - begin);
  if (threadIdx.x == 0) divisor.partials[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) invert(const DivisorSum divisor) {
  const double sum = block_sum_of(divisor.partials, divisor.pieces.count) * divisor.multiplier;
  if (threadIdx.x == 0) *divisor.inverse = sum == 0 ? 0 : 1 / sum;
}

}  // namespace

int launch_invert(const DivisorSum& divisor, void* stream) {
  return launch(invert, 1, kThreads, 0, stream, divisor);
}

template <class T>
int launch_divisor(const T* weight, const DivisorSum& divisor, void* stream) {
  if (launch(add_weights<T>, divisor.pieces.count, kThreads, 0, stream, weight, divisor)) return -1;
  return launch_invert(divisor, stream);
}

template int launch_divisor(const float*, const DivisorSum&, void*);
template int launch_divisor(const double*, const DivisorSum&, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
