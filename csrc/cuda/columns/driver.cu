// Losses of ranges of columns on a GPU. A tile of whole rows, or of a part of a long one, lies in
// shared memory while each loss takes its columns out of it and adds its slopes to theirs.
#include <algorithm>

#include "api/columns_call.h"
#include "api/error.h"
#include "api/fastloss_cuda.h"
#include "cuda/common/reduction.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int kWarps = kThreads / kWarp;
// Of predictions, and as many of slopes.
template <class T>
constexpr int64_t kRoom = int64_t(8192) / int64_t(sizeof(T));

template <class T>
struct BoxedTask {
  BoxedTerm<T> term;
  int64_t first_true, first_pred, columns;
};

template <class T>
struct BoxedTasks {
  int32_t count;
  BoxedTask<T> tasks[FASTLOSS_CUDA_MAX_TERMS];
};

// How predictions (rows, columns) are cut.
struct RowTiles {
  int64_t rows = 0, columns = 0, width = 1;  // width: of a tile
  int64_t rows_of_tile = 1, tiles_of_row = 1;
  Pieces pieces;  // of tiles

  RowTiles() = default;
  RowTiles(int64_t rows, int64_t columns, int64_t room) : rows(rows), columns(columns) {
    if (!rows || !columns) return;
    width = std::min(columns, room);
    tiles_of_row = ceil_div(columns, width);
    rows_of_tile = room / width;
    pieces = Pieces(ceil_div(rows, rows_of_tile) * tiles_of_row, 1);
  }
};

template <class T>
struct ColumnWalk {
  RowTiles tiles;
  int32_t y_true_dtype, y_true_size, y_pred_dtype, y_pred_size;
  int64_t true_columns;
  const void* y_true;
  const void* y_pred;
  void* gradient;    // or null
  double* partials;  // (tasks, pieces), or null
  Cycle<T> weight;   // of rows, or without data
  const T* factor;   // of tasks, or null
  const T* upstream;
  Inverse inverse;
};

// Of one tile: rows from `row` on, columns from `column` on.
struct Part {
  int64_t row, column;
  int rows, columns;
  FASTLOSS_INLINE Part(const RowTiles& tiles, int64_t tile)
      : row(tile / tiles.tiles_of_row * tiles.rows_of_tile),
        column(tile % tiles.tiles_of_row * tiles.width) {
    const int64_t below = tiles.rows - row, beside = tiles.columns - column;
    rows = static_cast<int>(below < tiles.rows_of_tile ? below : tiles.rows_of_tile);
    columns = static_cast<int>(beside < tiles.width ? beside : tiles.width);
  }
};

// Calls body(first, begin, end) for the vectors of a tile, of kWidth elements each: its elements
// are neighbours in memory, from `begin` on.
template <int kWidth, class T, class Body>
__device__ __forceinline__ void each_vector(const ColumnWalk<T>& walk, const Part& part,
                                            const Body& body) {
  const int64_t begin = part.row * walk.tiles.columns + part.column;
  const int64_t end = begin + int64_t(part.rows) * part.columns;
  for (int64_t first = begin / kWidth * kWidth + int64_t(threadIdx.x) * kWidth; first < end;
       first += kThreads * kWidth)
    body(first, begin, end);
}

template <class T>
__device__ __forceinline__ void load_tile(const ColumnWalk<T>& walk, const Part& part, T* stage,
                                          T* slopes) {
  constexpr int kWidth = 16 / int(sizeof(T));
  each_vector<kWidth>(walk, part, [&](int64_t first, int64_t begin, int64_t end) {
    RawVectors<1, kWidth> raw;
    T numbers[kWidth];
    const int64_t firsts[1] = {first};
    raw.load_any(walk.y_pred_size, walk.y_pred, firsts, begin, end);
    raw.widen_any(walk.y_pred_dtype, numbers);
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      if (first + i < begin || first + i >= end) continue;
      stage[first + i - begin] = numbers[i];
      slopes[first + i - begin] = T(0);
    }
  });
}

template <class T>
__device__ __forceinline__ void store_tile(const ColumnWalk<T>& walk, const Part& part,
                                           const T* slopes) {
  constexpr int kWidth = 16 / int(sizeof(T));
  each_vector<kWidth>(walk, part, [&](int64_t first, int64_t begin, int64_t end) {
    T numbers[kWidth];
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      numbers[i] = first + i < begin || first + i >= end ? T(0) : slopes[first + i - begin];
    const auto store_as = [&](auto size) {
      store_numbers<decltype(size)::value, kWidth>(numbers, walk.y_pred_dtype, first, begin, end,
                                                   walk.gradient);
    };
    if constexpr (sizeof(T) == 8)
      store_as(std::integral_constant<int, 8>());
    else if (walk.y_pred_size == 4)
      store_as(std::integral_constant<int, 4>());
    else
      store_as(std::integral_constant<int, 2>());
  });
}

// The sum of this thread's values of one task in a tile; adds to `slopes`.
template <class T>
__device__ __forceinline__ T walk_task(const BoxedTask<T>& task, double factor,
                                       const ColumnWalk<T>& walk, const Part& part, const T* stage,
                                       T* slopes) {
  constexpr int kElements = 4;
  const int64_t low = task.first_pred > part.column ? task.first_pred : part.column;
  const int64_t task_end = task.first_pred + task.columns, part_end = part.column + part.columns;
  const int64_t high = task_end < part_end ? task_end : part_end;
  if (low >= high) return 0;
  const unsigned columns = static_cast<unsigned>(high - low);
  const unsigned count = columns * static_cast<unsigned>(part.rows);
  const T scale = walk.gradient ? T(walk.inverse(factor * task.term.of_term)) *
                                      (walk.upstream ? *walk.upstream : T(1))
                                : T(0);
  T sum = 0;
  for (unsigned begin = threadIdx.x; begin < count; begin += kElements * kThreads) {
    unsigned place[kElements];
    int64_t at[kElements], row[kElements];
    T label[kElements], prediction[kElements];
    RawVectors<kElements, 1> labels;
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i) {
      const unsigned element = begin + i * kThreads < count ? begin + i * kThreads : begin;
      const unsigned line = element / columns, column = element - line * columns;
      place[i] = line * part.columns + static_cast<unsigned>(low - part.column) + column;
      row[i] = part.row + line;
      at[i] = row[i] * walk.true_columns + task.first_true + (low - task.first_pred) + column;
    }
    labels.load_any(walk.y_true_size, walk.y_true, at, 0, INT64_MAX);
    labels.widen_any(walk.y_true_dtype, label);
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i) prediction[i] = stage[place[i]];
    T value[kElements], slope[kElements];
    unbox(task.term, false, [&](const auto& loss) {
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
      if (walk.weight.data) walk.weight.template multiply<1>(row[i], &weight);
      sum += value[i] * weight;
      if (walk.gradient) slopes[place[i]] += slope[i] * weight;
    }
  }
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 8 ? 1 : 2)
    column_losses(const __grid_constant__ BoxedTasks<T> tasks,
                  const __grid_constant__ ColumnWalk<T> walk) {
  // (tasks, warps): sums of the lanes of each warp.
  double* const sums = static_cast<double*>(shared_memory());
  T* const stage = reinterpret_cast<T*>(sums + tasks.count * kWarps);
  T* const slopes = stage + kRoom<T>;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const bool leads = threadIdx.x % kWarp == 0;
  for (int i = static_cast<int>(threadIdx.x); i < tasks.count * kWarps; i += kThreads) sums[i] = 0;

  const int64_t end = walk.tiles.pieces.end(blockIdx.x);
  for (int64_t tile = walk.tiles.pieces.begin(blockIdx.x); tile < end; ++tile) {
    const Part part(walk.tiles, tile);
    load_tile(walk, part, stage, slopes);
    __syncthreads();
    for (int k = 0; k < tasks.count; ++k) {
      const double factor = walk.factor ? double(walk.factor[k]) : 1;
      const T sum = lanes_sum(walk_task(tasks.tasks[k], factor, walk, part, stage, slopes), kWarp);
      if (leads) sums[k * kWarps + warp] += double(sum);
      // The next task may have slopes of the same columns.
      __syncthreads();
    }
    if (walk.gradient) store_tile(walk, part, slopes);
    __syncthreads();
  }
  if (!walk.partials || threadIdx.x) return;
  for (int k = 0; k < tasks.count; ++k) {
    double sum = 0;
    for (int i = 0; i < kWarps; ++i) sum += sums[k * kWarps + i];
    walk.partials[k * walk.tiles.pieces.count + blockIdx.x] = sum;
  }
}

struct Scratch {
  InverseScratch inverse;
  RowTiles tiles;
  int64_t partials, bytes;

  explicit Scratch(const fastloss_columns& call)
      : inverse(call, 0),
        tiles(call.rows, call.pred_columns,
              call.y_pred_dtype == FASTLOSS_FLOAT64 ? kRoom<double> : kRoom<float>),
        partials(inverse.end) {
    bytes = partials + call.task_count * tiles.pieces.count * int64_t(sizeof(double));
  }
};

template <class T>
class Driver {
 public:
  Driver(const fastloss_columns& call, void* scratch, void* stream)
      : call_(call), layout_(call), scratch_(static_cast<char*>(scratch)), stream_(stream) {
    walk_.tiles = layout_.tiles;
    walk_.y_true_dtype = call.y_true_dtype;
    walk_.y_true_size = int32_t(dtype_size(call.y_true_dtype));
    walk_.y_pred_dtype = call.y_pred_dtype;
    walk_.y_pred_size = int32_t(dtype_size(call.y_pred_dtype));
    walk_.true_columns = call.true_columns;
    walk_.y_true = call.y_true;
    walk_.y_pred = call.y_pred;
    walk_.factor = static_cast<const T*>(call.factor);
    if (call.weight) walk_.weight = Cycle<T>(call.weight, call.weight_count, call.weight_repeat);
    walk_.inverse = inverse_of(call, double(call.rows), layout_.inverse, scratch_);
  }

  int forward(T* loss, T* task_values, void* gradient) {
    walk_.partials = reinterpret_cast<double*>(scratch_ + layout_.partials);
    if (walk(gradient)) return -1;
    Summary<T> summary{};
    summary.count = call_.task_count;
    summary.pieces = layout_.tiles.pieces.count;
    summary.empty = !call_.rows;
    for (int32_t k = 0; k < call_.task_count; ++k) {
      summary.of_term[k] = of_row(call_.tasks[k]);
      summary.of_loss[k] = call_.tasks[k].term.factor * of_row(call_.tasks[k]);
    }
    summary.factor = walk_.factor;
    summary.loss = loss;
    summary.term_values = task_values;
    return start_summary(summary, walk_.partials, walk_.inverse, stream_);
  }

  int backward(const T* upstream, void* gradient) {
    walk_.upstream = upstream;
    return walk(gradient);
  }

 private:
  static double of_row(const fastloss_task& task) {
    const bool mean = find_loss(kElementwiseLosses, task.term.loss)->mean;
    return mean ? 1.0 / double(task.columns) : 1.0;
  }

  int walk(void* gradient) {
    walk_.gradient = gradient;
    if (start_inverse<T>(call_, layout_.inverse, scratch_, stream_)) return -1;
    if (!layout_.tiles.pieces.count) return 0;
    BoxedTasks<T> tasks{};
    tasks.count = call_.task_count;
    for (int32_t k = 0; k < call_.task_count; ++k) {
      const fastloss_task& task = call_.tasks[k];
      tasks.tasks[k] = {BoxedTerm<T>(task.term, task.term.factor * of_row(task)), task.first_true,
                        task.first_pred, task.columns};
    }
    const int64_t shared =
        call_.task_count * kWarps * int64_t(sizeof(double)) + 2 * kRoom<T> * int64_t(sizeof(T));
    return launch(column_losses<T>, layout_.tiles.pieces.count, kThreads, shared, stream_, tasks,
                  walk_);
  }

  const fastloss_columns& call_;
  const Scratch layout_;
  char* const scratch_;
  void* const stream_;
  ColumnWalk<T> walk_{};
};

int check(const fastloss_columns& call) {
  if (check_columns(call)) return -1;
  if (call.task_count <= FASTLOSS_CUDA_MAX_TERMS) return 0;
  return fail("task_count is %d; on a GPU one call adds up to %d losses: make several calls",
              call.task_count, FASTLOSS_CUDA_MAX_TERMS);
}

}  // namespace
}  // namespace FASTLOSS_ISA
}  // namespace fastloss

int64_t fastloss_cuda_columns_scratch(const fastloss_columns* call) {
  using namespace fastloss;
  if (cuda::check(*call)) return -1;
  return cuda::Scratch(*call).bytes;
}

int fastloss_cuda_columns_forward(const fastloss_columns* call, void* loss, void* task_values,
                                  void* gradient, void* scratch, void* stream) {
  using namespace fastloss;
  if (cuda::check(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .forward(static_cast<double*>(loss), static_cast<double*>(task_values), gradient);
  return cuda::Driver<float>(*call, scratch, stream)
      .forward(static_cast<float*>(loss), static_cast<float*>(task_values), gradient);
}

int fastloss_cuda_columns_backward(const fastloss_columns* call, const void* upstream,
                                   void* gradient, void* scratch, void* stream) {
  using namespace fastloss;
  if (cuda::check(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return cuda::Driver<double>(*call, scratch, stream)
        .backward(static_cast<const double*>(upstream), gradient);
  return cuda::Driver<float>(*call, scratch, stream)
      .backward(static_cast<const float*>(upstream), gradient);
}
