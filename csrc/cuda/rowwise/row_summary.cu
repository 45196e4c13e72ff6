#include <algorithm>

#include "cuda/common/reduce.h"
#include "cuda/rowwise/row_group.h"
#include "cuda/rowwise/row_summary.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <class T>
__device__ __forceinline__ bool is_zero(const RowPass<T>& pass, int64_t element) {
  RawVectors<1, 1> raw;
  const int64_t first[1] = {element};
  T label[1];
  raw.load_any(pass.y_true_size, pass.y_true, first, element, element + 1);
  raw.widen_any(pass.y_true_dtype, label);
  return label[0] == T(0);
}

// The classes of a contiguous row are spread over a warp; a strided row has a thread, as its
// neighbours are in the neighbouring threads.
template <class T>
__global__ void __launch_bounds__(kThreads)
    find_ignored(const __grid_constant__ RowPass<T> pass, uint8_t* const ignored) {
  const bool contiguous = pass.inner.divisor() == 1;
  const int lanes = contiguous ? kWarp : 1, rows = kThreads / lanes;
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t base = int64_t(blockIdx.x) * rows; base < pass.rows;
       base += int64_t(gridDim.x) * rows) {
    const int64_t row = base + thread / lanes;
    const bool exists = row < pass.rows;
    const int64_t first = exists ? pass.offset(row) : 0;
    int others = 0;
    if (exists)
      for (int64_t c = thread % lanes; c < pass.classes && !others; c += lanes)
        others = c != pass.ignore_class && !is_zero(pass, first + c * pass.inner.divisor());
    others = combine_lanes(others, lanes, [](int x, int y) { return x | y; });
    if (exists && thread % lanes == 0) ignored[row] = others == 0;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    count_rows(const __grid_constant__ RowPass<T> pass, const bool by_weight,
               const DivisorSum divisor) {
  double sum = 0;
  const int64_t end = divisor.pieces.end(blockIdx.x);
  for (int64_t row = divisor.pieces.begin(blockIdx.x) + threadIdx.x; row < end; row += kThreads) {
    T counts = 1;
    if (by_weight) pass.weight.template multiply<1>(row, &counts);
    if (!pass.is_ignored(row)) sum += double(counts);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) divisor.partials[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    total_rows(const __grid_constant__ RowPass<T> pass, T* const loss) {
  const double sum = block_sum_of(pass.partials, pass.pieces.count);
  if (threadIdx.x == 0) *loss = pass.rows ? T(sum * pass.inverse.value()) : T(0);
}

}  // namespace

template <class T>
int launch_ignored(const RowPass<T>& pass, uint8_t* ignored, void* stream) {
  const int64_t rows = pass.inner.divisor() == 1 ? kThreads / kWarp : kThreads;
  return launch(find_ignored<T>, std::min((pass.rows + rows - 1) / rows, int64_t(1) << 20),
                kThreads, 0, stream, pass, ignored);
}

template <class T>
int launch_count(const RowPass<T>& pass, bool by_weight, const DivisorSum& divisor, void* stream) {
  if (launch(count_rows<T>, divisor.pieces.count, kThreads, 0, stream, pass, by_weight, divisor))
    return -1;
  return launch_invert(divisor, stream);
}

template <class T>
int launch_row_total(const RowPass<T>& pass, T* loss, void* stream) {
  return launch(total_rows<T>, 1, kThreads, 0, stream, pass, loss);
}

#define FASTLOSS_ROW_SUMMARY(T)                                                 \
  template int launch_ignored(const RowPass<T>&, uint8_t*, void*);              \
  template int launch_count(const RowPass<T>&, bool, const DivisorSum&, void*); \
  template int launch_row_total(const RowPass<T>&, T*, void*);
FASTLOSS_ROW_SUMMARY(float)
FASTLOSS_ROW_SUMMARY(double)
#undef FASTLOSS_ROW_SUMMARY

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
