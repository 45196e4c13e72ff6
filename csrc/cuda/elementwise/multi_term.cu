#include <algorithm>

#include "cuda/elementwise/multi_term.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

// A grid may have 2^31 - 1 blocks at most; the blocks of a smaller one take several work items.
constexpr int64_t kMaxBlocks = int64_t(1) << 20;

// The weights of a vector's elements, times the upstream gradient of their rows.
template <class T, int kWidth>
__device__ __forceinline__ void weigh(const ElementwisePass<T>& pass, int64_t first, T* weight) {
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i) weight[i] = T(1);
  if (pass.weight.data) pass.weight.template multiply<kWidth>(first, weight);
  if (pass.upstream_of_row.data) pass.upstream_of_row.template multiply<kWidth>(first, weight);
}

template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 1 : 2)
    multi_term(const __grid_constant__ TaggedTerms<T> terms, const ElementwisePass<T> pass) {
  using Layout = MultiTermTile<T>;
  constexpr int kWidth = Layout::kWidth;
  bool binary;
  if (!pass.begins(&binary)) return;
  // (terms, threads): the sums of each thread.
  double* const sums = static_cast<double*>(shared_memory()) + threadIdx.x;
  if (pass.partials)
    for (int k = 0; k < terms.count; ++k) sums[k * kThreads] = 0;

  const int64_t end = pass.pieces.end(blockIdx.x);
  for (int64_t begin = pass.pieces.begin(blockIdx.x); begin < end; begin += Layout::kElements) {
    Inputs<T, Layout> in;
    in.template load<0>(pass, begin, begin, end);
    if (binary) in.check_binary(pass, begin, end);
    T column[kWidth], weight[kWidth], slope[kWidth];
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) column[i] = T(1), slope[i] = T(0);
    if (pass.column.data) pass.column.template multiply<kWidth>(in.first[0], column);
    weigh<T, kWidth>(pass, in.first[0], weight);
    for (int k = 0; k < terms.count; ++k) {
      const T scale = pass.gradient ? pass.scale(terms.terms[k].term_scale) : T(0);
      T value = 0;
      visit_term(terms.terms[k], binary, [&](const auto& loss) {
        FASTLOSS_UNROLL
        for (int i = 0; i < kWidth; ++i) {
          const Point<T> point = evaluate(loss, in.label[i], in.prediction[i], column[i]);
          value += in.counts(i, begin, end) ? point.value * weight[i] : T(0);
          slope[i] += point.slope * scale;
        }
      });
      if (pass.partials) sums[k * kThreads] += double(value);
    }
    if (!pass.gradient) continue;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) slope[i] *= weight[i];
    const auto store_as = [&](auto size) {
      store_numbers<decltype(size)::value, kWidth>(slope, pass.y_pred_dtype, in.first[0], begin,
                                                   end, pass.gradient);
    };
    if constexpr (sizeof(T) == 8)
      store_as(std::integral_constant<int, 8>());
    else if (pass.y_pred_size == 4)
      store_as(std::integral_constant<int, 4>());
    else
      store_as(std::integral_constant<int, 2>());
  }
  if (!pass.partials) return;
  for (int k = 0; k < terms.count; ++k) {
    const double sum = block_sum(sums[k * kThreads]);
    if (threadIdx.x == 0) pass.partials[k * pass.pieces.count + blockIdx.x] = sum;
  }
}

// Computes the weighted sum of all terms for the elements [begin, end) of a tile into shared
// memory, element `begin` first.
template <class T>
__device__ __forceinline__ void tile_values(const TaggedTerms<T>& terms,
                                            const ElementwisePass<T>& pass, bool binary,
                                            int64_t begin, int64_t end, T* values) {
  using Layout = MultiTermTile<T>;
  constexpr int kWidth = Layout::kWidth;
  Inputs<T, Layout> in;
  in.template load<0>(pass, begin / kWidth * kWidth, begin, end);
  if (binary) in.check_binary(pass, begin, end);
  T column[kWidth], weight[kWidth], value[kWidth];
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i) column[i] = T(1), value[i] = T(0);
  if (pass.column.data) pass.column.template multiply<kWidth>(in.first[0], column);
  weigh<T, kWidth>(pass, in.first[0], weight);
  for (int k = 0; k < terms.count; ++k) {
    const T factor = T(pass.inverse(terms.terms[k].term_scale));
    visit_term(terms.terms[k], binary, [&](const auto& loss) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i)
        value[i] += factor * evaluate(loss, in.label[i], in.prediction[i], column[i]).value;
    });
  }
  FASTLOSS_UNROLL
  for (int i = 0; i < kWidth; ++i)
    if (in.counts(i, begin, end)) values[in.first[0] + i - begin] = value[i] * weight[i];
}

// The order of a row's sum depends on its length alone: `lanes` neighbouring threads add up a short
// row, the block a chunk of a long one.
template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 1 : 2)
    multi_term_rows(const __grid_constant__ TaggedTerms<T> terms, const ElementwisePass<T> pass,
                    T* const loss) {
  __shared__ T values[MultiTermTile<T>::kElements];
  bool binary;
  if (!pass.begins(&binary)) return;
  const Rows& rows = pass.rows;
  for (int64_t item = blockIdx.x; item < rows.work_items; item += gridDim.x) {
    if (rows.rows_of_tile) {
      const int64_t first = rows.first_row(item), last = rows.last_row(item);
      tile_values(terms, pass, binary, first * rows.columns, last * rows.columns, values);
      __syncthreads();
      const int lane = static_cast<int>(threadIdx.x) % rows.lanes;
      const int rows_at_once = kThreads / rows.lanes;
      // All threads make the same number of iterations, as lanes_sum requires all of them.
      for (int64_t base = first; base < last; base += rows_at_once) {
        const int64_t row = base + static_cast<int>(threadIdx.x) / rows.lanes;
        T sum = 0;
        if (row < last)
          for (int64_t i = lane; i < rows.columns; i += rows.lanes)
            sum += values[(row - first) * rows.columns + i];
        sum = lanes_sum(sum, rows.lanes);
        if (lane == 0 && row < last) loss[row] = sum;
      }
    } else {
      const int64_t end = rows.chunk_end(item);
      double sum = 0;
      for (int64_t begin = rows.chunk_begin(item); begin < end; begin += rows.capacity) {
        const int64_t next = begin + rows.capacity < end ? begin + rows.capacity : end;
        tile_values(terms, pass, binary, begin, next, values);
        __syncthreads();
        T of_tile = 0;
        for (int64_t i = threadIdx.x; i < next - begin; i += kThreads) of_tile += values[i];
        sum += double(of_tile);
        __syncthreads();
      }
      sum = block_sum(sum);
      if (threadIdx.x == 0) pass.partials[item] = sum;
    }
    __syncthreads();
  }
}

// Adds up the chunks of each long row.
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
int launch_multi_term(const TaggedTerms<T>& terms, const ElementwisePass<T>& pass, void* stream) {
  const int64_t shared = pass.partials ? terms.count * kThreads * int64_t(sizeof(double)) : 0;
  return launch(multi_term<T>, pass.pieces.count, kThreads, shared, stream, terms, pass);
}

template <class T>
int launch_multi_term_rows(const TaggedTerms<T>& terms, const ElementwisePass<T>& pass, T* loss,
                           void* stream) {
  const Rows& rows = pass.rows;
  if (launch(multi_term_rows<T>, std::min(rows.work_items, kMaxBlocks), kThreads, 0, stream, terms,
             pass, loss))
    return -1;
  if (rows.rows_of_tile) return 0;
  return launch(add_chunks<T>, std::min(rows.rows, kMaxBlocks), kThreads, 0, stream,
                static_cast<const double*>(pass.partials), rows, loss);
}

template int launch_multi_term(const TaggedTerms<float>&, const ElementwisePass<float>&, void*);
template int launch_multi_term(const TaggedTerms<double>&, const ElementwisePass<double>&, void*);
template int launch_multi_term_rows(const TaggedTerms<float>&, const ElementwisePass<float>&,
                                    float*, void*);
template int launch_multi_term_rows(const TaggedTerms<double>&, const ElementwisePass<double>&,
                                    double*, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
