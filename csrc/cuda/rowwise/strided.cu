// Rows whose classes lie apart in memory, as those of images with their channels first: each has a
// thread, and neighbouring threads have neighbouring rows.
#include "cuda/common/reduce.h"
#include "cuda/rowwise/row_loss.h"
#include "cuda/rowwise/rows.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <int kSize>
struct RowApart {
  using T = typename Predictions<kSize>::T;
  // Classes that are under way before the first is looked at.
  static constexpr int kWidth = 4;

  const RowWalk<T>& walk;
  const RowTask<T>& task;
  const int64_t classes, stride, first;

  __device__ __forceinline__ RowApart(const RowWalk<T>& walk, const RowTask<T>& task, bool live)
      : walk(walk),
        task(task),
        classes(live ? walk.classes : 0),
        stride(walk.inner.divisor()),
        first(walk.offset(task.row)) {}

  template <int kBytes>
  __device__ __forceinline__ void gather(const void* data, const Place& place,
                                         RawVectors<1, kWidth>* raw) const {
    const auto* const from = static_cast<const typename RawOf<kBytes>::Bits*>(data);
    FASTLOSS_UNROLL
    for (uint32_t& word : raw->words[0]) word = 0;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i < place.count) put<kBytes>(raw->words[0], i, from[first + place.at(i) * stride]);
  }

  __device__ __forceinline__ T at(int64_t c) const {
    if (c >= classes) return T(0);
    RawVectors<1, kWidth> raw;
    T x[kWidth];
    gather<kSize>(walk.y_pred, {c, 1, 0}, &raw);
    Predictions<kSize>::widen(raw, walk.y_pred_dtype, x);
    return x[0];
  }

  template <bool kLabels, class Visit>
  __device__ __forceinline__ void each(const Wants& wants, const Visit& visit) const {
    for (int64_t c = 0; c < classes; c += kWidth) {
      const Place place = {c, classes - c < kWidth ? static_cast<int>(classes - c) : kWidth, 0};
      T x[kWidth] = {}, y[kWidth] = {};
      RawVectors<1, kWidth> raw;
      if (wants.x) {
        gather<kSize>(walk.y_pred, place, &raw);
        Predictions<kSize>::widen(raw, walk.y_pred_dtype, x);
        if (wants.ready) walk.ready_predictions(place, x);
      }
      if (kLabels && wants.y) {
        if (!walk.sparse) {
          if (walk.y_true_size == 4)
            gather<4>(walk.y_true, place, &raw);
          else if (walk.y_true_size == 2)
            gather<2>(walk.y_true, place, &raw);
          else if (walk.y_true_size == 1)
            gather<1>(walk.y_true, place, &raw);
          else
            gather<8>(walk.y_true, place, &raw);
          raw.widen_any(walk.y_true_dtype, y);
        }
        if (wants.ready) walk.ready_labels(task, place, y);
      }
      visit(place, x, y);
    }
  }

  __device__ __forceinline__ void store(const Place& place, const T (&numbers)[kWidth]) const {
    auto* const to = static_cast<typename RawOf<kSize>::Bits*>(walk.gradient);
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i < place.count)
        to[first + place.at(i) * stride] =
            Predictions<kSize>::narrow(numbers[i], walk.y_pred_dtype);
  }
};

template <int kSize, bool kPicks>
__global__ void __launch_bounds__(kThreads, kSize == 8 ? 1 : 2)
    rows_apart(const __grid_constant__ RowWalk<typename Predictions<kSize>::T> walk) {
  using T = typename Predictions<kSize>::T;
  const T scale = walk.gradient ? walk.scale() : T(0);
  const int64_t end = walk.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t base = walk.pieces.begin(blockIdx.x); base < end; base += kRowsApart) {
    const bool live = base + threadIdx.x < end;
    const RowTask<T> task = walk.task(live ? base + threadIdx.x : base, scale);
    RowApart<kSize> row(walk, task, live);
    const Alone group;
    RowLoss<kPicks, T, RowApart<kSize>, Alone> loss(walk, task, row, group);
    const RowResult<T> result = loss.compute();
    sum += put_result(walk, task, result, live);
  }
  if (!walk.partials) return;
  sum = block_sum(sum);
  if (threadIdx.x == 0) walk.partials[blockIdx.x] = sum;
}

}  // namespace

template <int kSize>
int launch_rows_apart(const RowWalk<typename Predictions<kSize>::T>& walk, bool picks,
                      void* stream) {
  return launch(picks ? rows_apart<kSize, true> : rows_apart<kSize, false>, walk.pieces.count,
                kThreads, 0, stream, walk);
}
template int launch_rows_apart<2>(const RowWalk<float>&, bool, void*);
template int launch_rows_apart<4>(const RowWalk<float>&, bool, void*);
template int launch_rows_apart<8>(const RowWalk<double>&, bool, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
