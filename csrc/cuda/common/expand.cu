// Expands an array along some dimensions, for weights that no run length describes.
#include <algorithm>

#include "api/call.h"
#include "api/fastloss_cuda.h"
#include "cuda/common/device.h"
#include "cuda/common/divider.h"
#include "cuda/common/layout.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int64_t kMaxBlocks = int64_t(1) << 16;
// Sizes are at least 2 after merging, and their product fits 63 bits.
constexpr int kMaxRank = 63;

// Dimensions of the result with the source's strides, innermost first.
struct BroadcastDims {
  int rank = 0;
  Divider dims[kMaxRank];
  int64_t strides[kMaxRank] = {};

  // Merges a dimension with its inner neighbour where the source is strided evenly across both.
  void add_outer(int64_t dim, int64_t stride) {
    if (dim == 1) return;
    if (rank && stride == strides[rank - 1] * dims[rank - 1].divisor()) {
      dims[rank - 1] = Divider(dims[rank - 1].divisor() * dim);
      return;
    }
    dims[rank] = Divider(dim);
    strides[rank++] = stride;
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    expand(const __grid_constant__ BroadcastDims source, const int64_t count, const T* const from,
           T* const to) {
  const int64_t step = int64_t(gridDim.x) * kThreads;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    int64_t rest = i, j = 0;
    for (int k = 0; k < source.rank; ++k) {
      const int64_t next = source.dims[k](rest);
      j += (rest - next * source.dims[k].divisor()) * source.strides[k];
      rest = next;
    }
    to[i] = from[j];
  }
}

template <class T>
int start_expand(const BroadcastDims& source, int64_t count, const void* from, void* to,
                 void* stream) {
  const int64_t blocks = std::min(ceil_div(count, kThreads), kMaxBlocks);
  return launch(expand<T>, blocks, kThreads, 0, stream, source, count, static_cast<const T*>(from),
                static_cast<T*>(to));
}

}  // namespace
}  // namespace FASTLOSS_ISA
}  // namespace fastloss

int fastloss_cuda_expand(int32_t dtype, int32_t rank, const int64_t* dims, const int64_t* strides,
                         const void* from, void* to, void* stream) {
  using namespace fastloss;
  if (dtype != FASTLOSS_FLOAT32 && dtype != FASTLOSS_FLOAT64)
    return fail("dtype code %d cannot be expanded; expected float32 or float64", dtype);
  int64_t count = 1;
  for (int32_t i = 0; i < rank; ++i) {
    if (dims[i] < 0)
      return fail("dimension %d is %lld; expected none that is negative", i,
                  static_cast<long long>(dims[i]));
    count *= dims[i];
  }
  if (!count) return 0;
  cuda::BroadcastDims source;
  for (int32_t i = rank; i-- > 0;) source.add_outer(dims[i], strides[i]);
  const auto start =
      dtype == FASTLOSS_FLOAT64 ? cuda::start_expand<double> : cuda::start_expand<float>;
  return start(source, count, from, to, stream);
}
