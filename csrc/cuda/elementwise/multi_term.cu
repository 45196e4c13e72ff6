#include <algorithm>

#include "cuda/elementwise/multi_term.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

// A grid has room for 2^31 - 1 blocks; those of a smaller one take several pieces of work.
constexpr int64_t kMaxBlocks = int64_t(1) << 20;

// Of the elements of one vector, by T: weights, without and with what comes from upstream.
template <class T, int kWidth>
__device__ __forceinline__ void weigh(const ElementwiseWalk<T>& walk, int64_t first, T* weight) {
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i) weight[i] = T(1);
  if (walk.weight.data) walk.weight.template multiply<kWidth>(first, weight);
  if (walk.upstream_of_row.data) walk.upstream_of_row.template multiply<kWidth>(first, weight);
}

template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 1 : 2)
    any_losses(const __grid_constant__ BoxedTerms<T> terms, const ElementwiseWalk<T> walk) {
  using Layout = AnyTile<T>;
  constexpr int kWidth = Layout::kWidth;
  bool binary;
  if (!walk.begins(&binary)) return;
  // (terms, threads): each thread's own sums.
  double* const sums = static_cast<double*>(shared_memory()) + threadIdx.x;
  if (walk.partials)
    for (int k = 0; k < terms.count; ++k) sums[k * kThreads] = 0;

  const int64_t end = walk.pieces.end(blockIdx.x);
  for (int64_t begin = walk.pieces.begin(blockIdx.x); begin < end; begin += Layout::kElements) {
    Inputs<T, Layout> in;
    in.template load<0>(walk, begin, begin, end);
    if (binary) in.check_binary(walk, begin, end);
    T column[kWidth], weight[kWidth], slope[kWidth];
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) column[i] = T(1), slope[i] = T(0);
    if (walk.column.data) walk.column.template multiply<kWidth>(in.first[0], column);
    weigh<T, kWidth>(walk, in.first[0], weight);
    for (int k = 0; k < terms.count; ++k) {
      const T scale = walk.gradient ? walk.scale(terms.terms[k].of_term) : T(0);
      T value = 0;
      unbox(terms.terms[k], binary, [&](const auto& loss) {
        FASTLOSS_UNROLL
        for (int i = 0; i < kWidth; ++i) {
          const Point<T> point = evaluate(loss, in.label[i], in.prediction[i], column[i]);
          value += in.counts(i, begin, end) ? point.value * weight[i] : T(0);
          slope[i] += point.slope * scale;
        }
      });
      if (walk.partials) sums[k * kThreads] += double(value);
    }
    if (!walk.gradient) continue;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) slope[i] *= weight[i];
    const auto store_as = [&](auto size) {
      store_numbers<decltype(size)::value, kWidth>(slope, walk.y_pred_dtype, in.first[0], begin,
                                                   end, walk.gradient);
    };
    if constexpr (sizeof(T) == 8)
      store_as(std::integral_constant<int, 8>());
    else if (walk.y_pred_size == 4)
      store_as(std::integral_constant<int, 4>());
    else
      store_as(std::integral_constant<int, 2>());
  }
  if (!walk.partials) return;
  for (int k = 0; k < terms.count; ++k) {
    const double sum = block_sum(sums[k * kThreads]);
    if (threadIdx.x == 0) walk.partials[k * walk.pieces.count + blockIdx.x] = sum;
  }
}

// Weighted values of the tile that begins at element `begin`, of all terms together, into shared
// memory: value i is that of element begin + i.
template <class T>
__device__ __forceinline__ void tile_values(const BoxedTerms<T>& terms,
                                            const ElementwiseWalk<T>& walk, bool binary,
                                            int64_t begin, int64_t end, T* values) {
  using Layout = AnyTile<T>;
  constexpr int kWidth = Layout::kWidth;
  Inputs<T, Layout> in;
  in.template load<0>(walk, begin / kWidth * kWidth, begin, end);
  if (binary) in.check_binary(walk, begin, end);
  T column[kWidth], weight[kWidth], value[kWidth];
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i) column[i] = T(1), value[i] = T(0);
  if (walk.column.data) walk.column.template multiply<kWidth>(in.first[0], column);
  weigh<T, kWidth>(walk, in.first[0], weight);
  for (int k = 0; k < terms.count; ++k) {
    const T factor = T(walk.reduction(terms.terms[k].of_term));
    unbox(terms.terms[k], binary, [&](const auto& loss) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i)
        value[i] += factor * evaluate(loss, in.label[i], in.prediction[i], column[i]).value;
    });
  }
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i)
    if (in.counts(i, begin, end)) values[in.first[0] + i - begin] = value[i] * weight[i];
}

// A row's sum is taken in an order that its length alone decides: `lanes` neighbouring threads for
// a short one, the block for a chunk of a long one.
template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 1 : 2)
    row_losses(const __grid_constant__ BoxedTerms<T> terms, const ElementwiseWalk<T> walk,
               T* const loss) {
  __shared__ T values[AnyTile<T>::kElements];
  bool binary;
  if (!walk.begins(&binary)) return;
  const Rows& rows = walk.rows;
  for (int64_t work = blockIdx.x; work < rows.work; work += gridDim.x) {
    if (rows.rows_of_tile) {
      const int64_t first = rows.first_row(work), last = rows.last_row(work);
      tile_values(terms, walk, binary, first * rows.columns, last * rows.columns, values);
      __syncthreads();
      const int lane = static_cast<int>(threadIdx.x) % rows.lanes;
      const int rows_abreast = kThreads / rows.lanes;
      // All threads go round as often as the first: they meet in lanes_sum.
      for (int64_t base = first; base < last; base += rows_abreast) {
        const int64_t row = base + static_cast<int>(threadIdx.x) / rows.lanes;
        T sum = 0;
        if (row < last)
          for (int64_t i = lane; i < rows.columns; i += rows.lanes)
            sum += values[(row - first) * rows.columns + i];
        sum = lanes_sum(sum, rows.lanes);
        if (lane == 0 && row < last) loss[row] = sum;
      }
    } else {
      const int64_t end = rows.chunk_end(work);
      double sum = 0;
      for (int64_t begin = rows.chunk_begin(work); begin < end; begin += rows.room) {
        const int64_t next = begin + rows.room < end ? begin + rows.room : end;
        tile_values(terms, walk, binary, begin, next, values);
        __syncthreads();
        T of_tile = 0;
        for (int64_t i = threadIdx.x; i < next - begin; i += kThreads) of_tile += values[i];
        sum += double(of_tile);
        __syncthreads();
      }
      sum = block_sum(sum);
      if (threadIdx.x == 0) walk.partials[work] = sum;
    }
    __syncthreads();
  }
}

// A row is the sum of its chunks.
template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 1 : 2)
    add_chunks(const double* const partials, const Rows rows, T* const loss) {
  for (int64_t row = blockIdx.x; row < rows.rows; row += gridDim.x) {
    const double sum = block_sum_of(partials + row * rows.chunks, rows.chunks);
    if (threadIdx.x == 0) loss[row] = T(sum);
  }
}

}  // namespace

template <class T>
int launch_any_losses(const BoxedTerms<T>& terms, const ElementwiseWalk<T>& walk, void* stream) {
  const int64_t shared = walk.partials ? terms.count * kThreads * int64_t(sizeof(double)) : 0;
  return launch(any_losses<T>, walk.pieces.count, kThreads, shared, stream, terms, walk);
}

template <class T>
int launch_row_losses(const BoxedTerms<T>& terms, const ElementwiseWalk<T>& walk, T* loss,
                      void* stream) {
  const Rows& rows = walk.rows;
  if (launch(row_losses<T>, std::min(rows.work, kMaxBlocks), kThreads, 0, stream, terms, walk,
             loss))
    return -1;
  if (rows.rows_of_tile) return 0;
  return launch(add_chunks<T>, std::min(rows.rows, kMaxBlocks), kThreads, 0, stream,
                static_cast<const double*>(walk.partials), rows, loss);
}

template int launch_any_losses(const BoxedTerms<float>&, const ElementwiseWalk<float>&, void*);
template int launch_any_losses(const BoxedTerms<double>&, const ElementwiseWalk<double>&, void*);
template int launch_row_losses(const BoxedTerms<float>&, const ElementwiseWalk<float>&, float*,
                               void*);
template int launch_row_losses(const BoxedTerms<double>&, const ElementwiseWalk<double>&, double*,
                               void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
