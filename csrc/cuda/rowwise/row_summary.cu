#include <algorithm>

#include "cuda/common/reduce.h"
#include "cuda/rowwise/row_group.h"
#include "cuda/rowwise/row_summary.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <class T>
__device__ __forceinline__ bool is_zero(const RowWalk<T>& walk, int64_t element) {
  RawVectors<1, 1> raw;
  const int64_t first[1] = {element};
  T label[1];
  raw.load_any(walk.y_true_size, walk.y_true, first, element, element + 1);
  raw.widen_any(walk.y_true_dtype, label);
  return label[0] == T(0);
}

// Classes side by side are those of a warp's lanes, classes apart each thread's own.
template <class T>
__global__ void __launch_bounds__(kThreads)
    find_ignored(const __grid_constant__ RowWalk<T> walk, uint8_t* const ignored) {
  const bool along = walk.inner.divisor() == 1;
  const int lanes = along ? kWarp : 1, rows = kThreads / lanes;
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t base = int64_t(blockIdx.x) * rows; base < walk.rows;
       base += int64_t(gridDim.x) * rows) {
    const int64_t row = base + thread / lanes;
    const bool live = row < walk.rows;
    const int64_t first = live ? walk.offset(row) : 0;
    int others = 0;
    if (live)
      for (int64_t c = thread % lanes; c < walk.classes && !others; c += lanes)
        others = c != walk.ignore_class && !is_zero(walk, first + c * walk.inner.divisor());
    others = combine_lanes(others, lanes, [](int x, int y) { return x | y; });
    if (live && thread % lanes == 0) ignored[row] = others == 0;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    count_rows(const __grid_constant__ RowWalk<T> walk, const bool by_weight,
               const Divisor divisor) {
  double sum = 0;
  const int64_t end = divisor.pieces.end(blockIdx.x);
  for (int64_t row = divisor.pieces.begin(blockIdx.x) + threadIdx.x; row < end; row += kThreads) {
    T counts = 1;
    if (by_weight) walk.weight.template multiply<1>(row, &counts);
    if (!walk.is_ignored(row)) sum += double(counts);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) divisor.partials[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    total_rows(const __grid_constant__ RowWalk<T> walk, T* const loss) {
  const double sum = block_sum_of(walk.partials, walk.pieces.count);
  if (threadIdx.x == 0) *loss = walk.rows ? T(sum * walk.reduction()) : T(0);
}

}  // namespace

template <class T>
int launch_ignored(const RowWalk<T>& walk, uint8_t* ignored, void* stream) {
  const int64_t rows = walk.inner.divisor() == 1 ? kThreads / kWarp : kThreads;
  return launch(find_ignored<T>, std::min((walk.rows + rows - 1) / rows, int64_t(1) << 20),
                kThreads, 0, stream, walk, ignored);
}

template <class T>
int launch_count(const RowWalk<T>& walk, bool by_weight, const Divisor& divisor, void* stream) {
  if (launch(count_rows<T>, divisor.pieces.count, kThreads, 0, stream, walk, by_weight, divisor))
    return -1;
  return launch_invert(divisor, stream);
}

template <class T>
int launch_row_total(const RowWalk<T>& walk, T* loss, void* stream) {
  return launch(total_rows<T>, 1, kThreads, 0, stream, walk, loss);
}

#define FASTLOSS_ROW_SUMMARY(T)                                              \
  template int launch_ignored(const RowWalk<T>&, uint8_t*, void*);           \
  template int launch_count(const RowWalk<T>&, bool, const Divisor&, void*); \
  template int launch_row_total(const RowWalk<T>&, T*, void*);
FASTLOSS_ROW_SUMMARY(float)
FASTLOSS_ROW_SUMMARY(double)
#undef FASTLOSS_ROW_SUMMARY

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
