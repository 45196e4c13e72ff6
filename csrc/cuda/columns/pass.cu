// The kernel over ranges of columns. A tile lies in shared memory while each task reads its columns
// there and adds to their derivatives, so that overlapping ranges cost no further pass.
#include "cuda/columns/pass.h"
#include "cuda/common/reduce.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int kWarps = kThreads / kWarp;

// The rows and columns of one tile.
struct TileBounds {
  int64_t row, column;
  int rows, columns;
  FASTLOSS_INLINE TileBounds(const RowTiles& tiles, int64_t tile)
      : row(tile / tiles.tiles_of_row * tiles.rows_of_tile),
        column(tile % tiles.tiles_of_row * tiles.width) {
    const int64_t below = tiles.rows - row, beside = tiles.columns - column;
    rows = static_cast<int>(below < tiles.rows_of_tile ? below : tiles.rows_of_tile);
    columns = static_cast<int>(beside < tiles.width ? beside : tiles.width);
  }
};

// Calls body(first, begin, end) for the vectors of a tile, of kWidth elements each. The tile is the
// contiguous range [begin, end) of the predictions.
template <int kWidth, class T, class Body>
__device__ __forceinline__ void for_each_vector(const ColumnPass<T>& pass, const TileBounds& bounds,
                                                const Body& body) {
  const int64_t begin = bounds.row * pass.tiles.columns + bounds.column;
  const int64_t end = begin + int64_t(bounds.rows) * bounds.columns;
  for (int64_t first = begin / kWidth * kWidth + int64_t(threadIdx.x) * kWidth; first < end;
       first += kThreads * kWidth)
    body(first, begin, end);
}

template <class T>
__device__ __forceinline__ void load_tile(const ColumnPass<T>& pass, const TileBounds& bounds,
                                          T* stage, T* slopes) {
  constexpr int kWidth = 16 / int(sizeof(T));
  for_each_vector<kWidth>(pass, bounds, [&](int64_t first, int64_t begin, int64_t end) {
    RawVectors<1, kWidth> raw;
    T numbers[kWidth];
    const int64_t firsts[1] = {first};
    raw.load_any(pass.y_pred_size, pass.y_pred, firsts, begin, end);
    raw.widen_any(pass.y_pred_dtype, numbers);
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      if (first + i < begin || first + i >= end) continue;
      stage[first + i - begin] = numbers[i];
      slopes[first + i - begin] = T(0);
    }
  });
}

template <class T>
__device__ __forceinline__ void store_tile(const ColumnPass<T>& pass, const TileBounds& bounds,
                                           const T* slopes) {
  constexpr int kWidth = 16 / int(sizeof(T));
  for_each_vector<kWidth>(pass, bounds, [&](int64_t first, int64_t begin, int64_t end) {
    T numbers[kWidth];
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      numbers[i] = first + i < begin || first + i >= end ? T(0) : slopes[first + i - begin];
    const auto store_as = [&](auto size) {
      store_numbers<decltype(size)::value, kWidth>(numbers, pass.y_pred_dtype, first, begin, end,
                                                   pass.gradient);
    };
    if constexpr (sizeof(T) == 8)
      store_as(std::integral_constant<int, 8>());
    else if (pass.y_pred_size == 4)
      store_as(std::integral_constant<int, 4>());
    else
      store_as(std::integral_constant<int, 2>());
  });
}

// Evaluates one task in a tile: returns the sum of this thread's values and adds to `slopes`.
template <class T>
__device__ __forceinline__ T evaluate_task(const TaggedTask<T>& task, double factor,
                                           const ColumnPass<T>& pass, const TileBounds& bounds,
                                           const T* stage, T* slopes) {
  constexpr int kElements = 4;
  const int64_t low = task.first_pred > bounds.column ? task.first_pred : bounds.column;
  const int64_t task_end = task.first_pred + task.columns;
  const int64_t tile_end = bounds.column + bounds.columns;
  const int64_t high = task_end < tile_end ? task_end : tile_end;
  if (low >= high) return 0;
  const unsigned columns = static_cast<unsigned>(high - low);
  const unsigned count = columns * static_cast<unsigned>(bounds.rows);
  const T scale = pass.gradient ? T(pass.inverse(factor * task.term.term_scale)) *
                                      (pass.upstream ? *pass.upstream : T(1))
                                : T(0);
  T sum = 0;
  for (unsigned begin = threadIdx.x; begin < count; begin += kElements * kThreads) {
    unsigned offset[kElements];
    int64_t at[kElements], row[kElements];
    T label[kElements], prediction[kElements];
    RawVectors<kElements, 1> labels;
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i) {
      const unsigned element = begin + i * kThreads < count ? begin + i * kThreads : begin;
      const unsigned tile_row = element / columns, column = element - tile_row * columns;
      offset[i] = tile_row * bounds.columns + static_cast<unsigned>(low - bounds.column) + column;
      row[i] = bounds.row + tile_row;
      at[i] = row[i] * pass.true_columns + task.first_true + (low - task.first_pred) + column;
    }
    labels.load_any(pass.y_true_size, pass.y_true, at, 0, INT64_MAX);
    labels.widen_any(pass.y_true_dtype, label);
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i) prediction[i] = stage[offset[i]];
    T value[kElements], slope[kElements];
    visit_term(task.term, false, [&](const auto& loss) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kElements; ++i) {
        const Point<T> point = evaluate(loss, label[i], prediction[i], T(1));
        value[i] = point.value;
        slope[i] = point.slope * scale;
      }
    });
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i) {
      if (begin + i * kThreads >= count) continue;
      T weight = 1;
      if (pass.weight.data) pass.weight.template multiply<1>(row[i], &weight);
      sum += value[i] * weight;
      if (pass.gradient) slopes[offset[i]] += slope[i] * weight;
    }
  }
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 1 : 2)
    column_losses(const __grid_constant__ TaggedTasks<T> tasks,
                  const __grid_constant__ ColumnPass<T> pass) {
  // (tasks, warps): the sums of each warp.
  double* const sums = static_cast<double*>(shared_memory());
  T* const stage = reinterpret_cast<T*>(sums + tasks.count * kWarps);
  T* const slopes = stage + kColumnTileCapacity<T>;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const bool leads = threadIdx.x % kWarp == 0;
  for (int i = static_cast<int>(threadIdx.x); i < tasks.count * kWarps; i += kThreads) sums[i] = 0;

  const int64_t end = pass.tiles.pieces.end(blockIdx.x);
  for (int64_t tile = pass.tiles.pieces.begin(blockIdx.x); tile < end; ++tile) {
    const TileBounds bounds(pass.tiles, tile);
    load_tile(pass, bounds, stage, slopes);
    __syncthreads();
    for (int k = 0; k < tasks.count; ++k) {
      const double factor = pass.factor ? double(pass.factor[k]) : 1;
      const T sum =
          lanes_sum(evaluate_task(tasks.tasks[k], factor, pass, bounds, stage, slopes), kWarp);
      if (leads) sums[k * kWarps + warp] += double(sum);
      // The next task may add to the slopes of the same columns.
      __syncthreads();
    }
    if (pass.gradient) store_tile(pass, bounds, slopes);
    __syncthreads();
  }
  if (!pass.partials || threadIdx.x) return;
  for (int k = 0; k < tasks.count; ++k) {
    double sum = 0;
    for (int i = 0; i < kWarps; ++i) sum += sums[k * kWarps + i];
    pass.partials[k * pass.tiles.pieces.count + blockIdx.x] = sum;
  }
}

}  // namespace

template <class T>
int launch_columns(const TaggedTasks<T>& tasks, const ColumnPass<T>& pass, void* stream) {
  const int64_t shared = tasks.count * kWarps * int64_t(sizeof(double)) +
                         2 * kColumnTileCapacity<T> * int64_t(sizeof(T));
  return launch(column_losses<T>, pass.tiles.pieces.count, kThreads, shared, stream, tasks, pass);
}
template int launch_columns(const TaggedTasks<float>&, const ColumnPass<float>&, void*);
template int launch_columns(const TaggedTasks<double>&, const ColumnPass<double>&, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
