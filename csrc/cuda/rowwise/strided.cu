// Rows whose classes are strided, as in images with their channels first. Each row has a thread, so
// that neighbouring threads read neighbouring elements.
#include "cuda/common/reduce.h"
#include "cuda/rowwise/row_loss.h"
#include "cuda/rowwise/rows.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <int kSize>
struct StridedRow {
  using T = typename Predictions<kSize>::T;
  // Classes in flight before the first is used.
  static constexpr int kWidth = 4;

  const RowPass<T>& pass;
  const RowTask<T>& task;
  const int64_t classes, stride, first;

  __device__ __forceinline__ StridedRow(const RowPass<T>& pass, const RowTask<T>& task, bool exists)
      : pass(pass),
        task(task),
        classes(exists ? pass.classes : 0),
        stride(pass.inner.divisor()),
        first(pass.offset(task.row)) {}

  template <int kBytes>
  __device__ __forceinline__ void gather(const void* data, const ClassSlice& slice,
                                         RawVectors<1, kWidth>* raw) const {
    const auto* const from = static_cast<const typename RawOf<kBytes>::Bits*>(data);
    FASTLOSS_UNROLL
    for (uint32_t& word : raw->words[0]) word = 0;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i < slice.count) put<kBytes>(raw->words[0], i, from[first + slice.at(i) * stride]);
  }

  __device__ __forceinline__ T at(int64_t c) const {
    if (c >= classes) return T(0);
    RawVectors<1, kWidth> raw;
    T x[kWidth];
    gather<kSize>(pass.y_pred, {c, 1, 0}, &raw);
    Predictions<kSize>::widen(raw, pass.y_pred_dtype, x);
    return x[0];
  }

  template <bool kLabels, class Visit>
  __device__ __forceinline__ void for_each(const Reads& reads, const Visit& visit) const {
    for (int64_t c = 0; c < classes; c += kWidth) {
      const ClassSlice slice = {c, classes - c < kWidth ? static_cast<int>(classes - c) : kWidth,
                                0};
      T x[kWidth] = {}, y[kWidth] = {};
      RawVectors<1, kWidth> raw;
      if (reads.x) {
        gather<kSize>(pass.y_pred, slice, &raw);
        Predictions<kSize>::widen(raw, pass.y_pred_dtype, x);
        if (reads.prepared) pass.prepare_predictions(slice, x);
      }
      if (kLabels && reads.y) {
        if (!pass.sparse) {
          if (pass.y_true_size == 4)
            gather<4>(pass.y_true, slice, &raw);
          else if (pass.y_true_size == 2)
            gather<2>(pass.y_true, slice, &raw);
          else if (pass.y_true_size == 1)
            gather<1>(pass.y_true, slice, &raw);
          else
            gather<8>(pass.y_true, slice, &raw);
          raw.widen_any(pass.y_true_dtype, y);
        }
        if (reads.prepared) pass.prepare_labels(task, slice, y);
      }
      visit(slice, x, y);
    }
  }

  __device__ __forceinline__ void store(const ClassSlice& slice, const T (&numbers)[kWidth]) const {
    auto* const to = static_cast<typename RawOf<kSize>::Bits*>(pass.gradient);
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i < slice.count)
        to[first + slice.at(i) * stride] =
            Predictions<kSize>::narrow(numbers[i], pass.y_pred_dtype);
  }
};

template <int kSize, bool kAtLabel>
__global__ void __launch_bounds__(kThreads, kSize == 8 ? 1 : 2)
    strided_rows(const __grid_constant__ RowPass<typename Predictions<kSize>::T> pass) {
  using T = typename Predictions<kSize>::T;
  const T scale = pass.gradient ? pass.scale() : T(0);
  const int64_t end = pass.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t base = pass.pieces.begin(blockIdx.x); base < end; base += kStridedRows) {
    const bool exists = base + threadIdx.x < end;
    const RowTask<T> task = pass.task(exists ? base + threadIdx.x : base, scale);
    StridedRow<kSize> row(pass, task, exists);
    const SingleThread group;
    RowLoss<kAtLabel, T, StridedRow<kSize>, SingleThread> loss(pass, task, row, group);
    const RowResult<T> result = loss.compute();
    sum += write_result(pass, task, result, exists);
  }
  if (!pass.partials) return;
  sum = block_sum(sum);
  if (threadIdx.x == 0) pass.partials[blockIdx.x] = sum;
}

}  // namespace

template <int kSize>
int launch_strided_rows(const RowPass<typename Predictions<kSize>::T>& pass, bool at_label,
                        void* stream) {
  return launch(at_label ? strided_rows<kSize, true> : strided_rows<kSize, false>,
                pass.pieces.count, kThreads, 0, stream, pass);
}
template int launch_strided_rows<2>(const RowPass<float>&, bool, void*);
template int launch_strided_rows<4>(const RowPass<float>&, bool, void*);
template int launch_strided_rows<8>(const RowPass<double>&, bool, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
