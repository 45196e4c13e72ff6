// Arithmetic on whole gradients: scaling by an upstream gradient, and adding one to another.
#include <algorithm>
#include <cstring>

#include "api/call.h"
#include "api/fastloss_cuda.h"
#include "cuda/common/device.h"
#include "cuda/common/dtypes.h"
#include "cuda/common/layout.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int64_t kMaxBlocks = int64_t(1) << 16;

template <int kSize>
__global__ void __launch_bounds__(kThreads)
    scale_by(const int32_t dtype, const int64_t count, const void* const gradient,
             const typename Predictions<kSize>::T* const upstream, void* const scaled) {
  using T = typename Predictions<kSize>::T;
  using Layout = Tile<kSize, 1>;
  const T factor = *upstream;
  if (factor == 1 && gradient == scaled) return;
  for (int64_t begin = int64_t(blockIdx.x) * Layout::kElements; begin < count;
       begin += int64_t(gridDim.x) * Layout::kElements) {
    const int64_t first[1] = {begin + Layout::first(static_cast<int>(threadIdx.x), 0)};
    RawVectors<1, Layout::kWidth> raw;
    T numbers[Layout::kWidth];
    raw.template load_of_size<kSize>(gradient, first, begin, count);
    Predictions<kSize>::widen(raw, dtype, numbers);
    FASTLOSS_UNROLL
    for (int i = 0; i < Layout::kWidth; ++i) numbers[i] *= factor;
    store_numbers<kSize, Layout::kWidth>(numbers, dtype, first[0], begin, count, scaled);
  }
}

template <int kSize>
int start_scale(int32_t dtype, int64_t count, const void* gradient, const void* upstream,
                void* scaled, void* stream) {
  using T = typename Predictions<kSize>::T;
  const int64_t blocks = ceil_div(count, Tile<kSize, 1>::kElements);
  return launch(scale_by<kSize>, std::min(blocks, kMaxBlocks), kThreads, 0, stream, dtype, count,
                gradient, static_cast<const T*>(upstream), scaled);
}

template <int kSize>
__global__ void __launch_bounds__(kThreads)
    add_to(const int32_t dtype, const int64_t count, const void* const part, void* const total) {
  using T = typename Predictions<kSize>::T;
  constexpr int32_t kTotal = sizeof(T) == 8 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
  using Layout = Tile<sizeof(T), 1>;
  for (int64_t begin = int64_t(blockIdx.x) * Layout::kElements; begin < count;
       begin += int64_t(gridDim.x) * Layout::kElements) {
    const int64_t first[1] = {begin + Layout::first(static_cast<int>(threadIdx.x), 0)};
    RawVectors<1, Layout::kWidth> raw_part, raw_total;
    T more[Layout::kWidth], numbers[Layout::kWidth];
    raw_part.template load_of_size<kSize>(part, first, begin, count);
    raw_total.template load_of_size<sizeof(T)>(total, first, begin, count);
    Predictions<kSize>::widen(raw_part, dtype, more);
    Predictions<sizeof(T)>::widen(raw_total, kTotal, numbers);
    FASTLOSS_UNROLL
    for (int i = 0; i < Layout::kWidth; ++i) numbers[i] += more[i];
    store_numbers<sizeof(T), Layout::kWidth>(numbers, kTotal, first[0], begin, count, total);
  }
}

template <int kSize>
int start_add(int32_t dtype, int64_t count, const void* part, void* total, void* stream) {
  const int64_t blocks =
      ceil_div(count, Tile<sizeof(typename Predictions<kSize>::T), 1>::kElements);
  return launch(add_to<kSize>, std::min(blocks, kMaxBlocks), kThreads, 0, stream, dtype, count,
                part, total);
}

}  // namespace
}  // namespace FASTLOSS_ISA
}  // namespace fastloss

int fastloss_cuda_scale(int32_t dtype, int64_t count, const void* gradient, const void* upstream,
                        void* scaled, void* stream) {
  using namespace fastloss;
  if (!is_prediction_dtype(dtype))
    return fail("dtype code %d; expected float16, bfloat16, float32 or float64", dtype);
  if (!count) return 0;
  const auto start = dtype == FASTLOSS_FLOAT64   ? cuda::start_scale<8>
                     : dtype == FASTLOSS_FLOAT32 ? cuda::start_scale<4>
                                                 : cuda::start_scale<2>;
  return start(dtype, count, gradient, upstream, scaled, stream);
}

int fastloss_cuda_accumulate(int32_t dtype, int64_t count, const void* part, void* total,
                             void* stream) {
  using namespace fastloss;
  if (!is_prediction_dtype(dtype))
    return fail("dtype code %d cannot be accumulated; expected a float", dtype);
  if (!count) return 0;
  const auto start = dtype == FASTLOSS_FLOAT64   ? cuda::start_add<8>
                     : dtype == FASTLOSS_FLOAT32 ? cuda::start_add<4>
                                                 : cuda::start_add<2>;
  return start(dtype, count, part, total, stream);
}
