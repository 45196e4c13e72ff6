// Elementwise losses of several ranges of columns in one pass. A block of rows lies in the L1 cache
// while each loss takes its columns out of it and adds its slopes to theirs.
#include <algorithm>
#include <vector>

#include "api/columns_call.h"
#include "api/reduction.h"
#include "cpu/elementwise/term.h"
#include "cpu/kernels/isa.h"
#include "cpu/kernels/tile.h"
#include "cpu/runtime/broadcast_weights.h"
#include "cpu/runtime/pieces.h"
#include "cpu/runtime/scratch.h"

namespace fastloss {
namespace {

// Elements of a block of rows.
constexpr int64_t kBlock = 4 * kTile;

template <class T>
struct Task : Term<T> {
  int64_t first_true, first_pred, columns;

  Task(const fastloss_task& task, const TileOps<T>& ops)
      : Term<T>(task.term, ops),
        first_true(task.first_true),
        first_pred(task.first_pred),
        columns(task.columns) {}
};

struct Matrix {
  const char* data;
  int32_t dtype;
  int64_t size, columns;

  Matrix(const void* data, int32_t dtype, int64_t columns)
      : data(static_cast<const char*>(data)),
        dtype(dtype),
        size(dtype_size(dtype)),
        columns(columns) {}
};

// A part of a tile of rows.
struct Part {
  int64_t row, rows, column, columns;
  int64_t elements() const { return rows * columns; }
};

template <class Element>
void gather(const Matrix& matrix, const Part& part, void* to) {
  const Element* const first =
      reinterpret_cast<const Element*>(matrix.data) + part.row * matrix.columns + part.column;
  Element* out = static_cast<Element*>(to);
  constexpr int64_t kAhead = 2048;
  for (int64_t row = 0; row < part.rows; ++row) {
    const Element* const from = first + row * matrix.columns;
    prefetch<1>(from, kAhead, part.columns * matrix.size);
    for (int64_t c = 0; c < part.columns; ++c) *out++ = from[c];
  }
}

template <class T>
class ColumnsDriver {
 public:
  explicit ColumnsDriver(const fastloss_columns& call)
      : call_(call),
        ops_(isa().ops<T>()),
        label_(call.y_true, call.y_true_dtype, call.true_columns),
        prediction_(call.y_pred, call.y_pred_dtype, call.pred_columns),
        weight_(weights_of<T>(call)) {
    tasks_.reserve(call.task_count);
    for (int32_t k = 0; k < call.task_count; ++k) {
      tasks_.emplace_back(call.tasks[k], ops_);
      if (call.factor) tasks_[k].factor *= double(static_cast<const T*>(call.factor)[k]);
    }
  }

  void forward(T* loss, T* task_values, void* gradient) {
    const Sums totals = run(1, gradient);
    double total = 0;
    for (size_t k = 0; k < totals.size(); ++k) {
      const double value = call_.rows ? totals[k] * tasks_[k].reduction : 0;
      total += tasks_[k].factor * value;
      if (task_values) task_values[k] = T(value);
    }
    *loss = T(total);
  }

  void backward(const T* upstream, void* gradient) { run(*upstream, gradient); }

 private:
  // One number for each task.
  using Sums = std::vector<double>;

  Sums run(T upstream, void* gradient) {
    gradient_ = static_cast<char*>(gradient);
    const int64_t elements = call_.rows * call_.pred_columns;
    stream_ = gradient && gradient != call_.y_pred && elements * prediction_.size >= kStreamBytes;
    const double divisor = divisor_of<T>(call_, call_.rows);
    for (Task<T>& task : tasks_) task.reduce(task.columns, divisor, upstream);

    const int64_t width = std::max<int64_t>(1, call_.pred_columns);
    const int64_t per_piece = std::max<int64_t>(1, kPiece / width);
    const int64_t per_block = std::max<int64_t>(1, kBlock / width);
    std::vector<Sums> partial(ceil_div(call_.rows, per_piece));
    parallel_pieces(call_.parallel_for, call_.parallel_context, int64_t(partial.size()), stream_,
                    [&](int64_t piece) {
                      Sums sums(tasks_.size());
                      const int64_t end = std::min(call_.rows, (piece + 1) * per_piece);
                      for (int64_t row = piece * per_piece; row < end; row += per_block)
                        block(row, std::min(per_block, end - row), &sums);
                      partial[piece] = std::move(sums);
                    });
    Sums totals(tasks_.size());
    for (const Sums& sums : partial)
      for (size_t k = 0; k < totals.size(); ++k) totals[k] += sums[k];
    return totals;
  }

  void block(int64_t first, int64_t rows, Sums* sums) {
    Scratch scratch(rows * (call_.pred_columns + 1) * int64_t(sizeof(T)) + 2 * 64);
    T* const slopes = scratch.take<T>(rows * call_.pred_columns);
    T* const weights = scratch.take<T>(rows);
    if (gradient_) std::fill(slopes, slopes + rows * call_.pred_columns, T(0));
    if (weight_.data) weight_.visit(first, rows, [&](int64_t k, T weight) { weights[k] = weight; });
    for (size_t k = 0; k < tasks_.size(); ++k) {
      const Task<T>& task = tasks_[k];
      const int64_t columns = std::min(task.columns, kTile);
      const int64_t per_tile = columns ? kTile / columns : rows;
      for (int64_t row = 0; row < rows; row += per_tile)
        for (int64_t c = 0; c < task.columns; c += columns)
          (*sums)[k] +=
              tile(task, first,
                   {row, std::min(per_tile, rows - row), c, std::min(columns, task.columns - c)},
                   weights, slopes);
    }
    if (!gradient_) return;
    ops_.store(prediction_.dtype, slopes, gradient_ + first * call_.pred_columns * prediction_.size,
               rows * call_.pred_columns, stream_, nullptr);
  }

  // Adds the slopes of a part of a block to `slopes`; returns the sum of its values.
  double tile(const Task<T>& task, int64_t first, Part part, const T* weights, T* slopes) const {
    alignas(64) T labels[kTile], predictions[kTile], values[kTile], own[kTile];
    const int64_t n = part.elements(), padded = ceil_div(n, kLanes) * kLanes;
    load(label_, {first + part.row, part.rows, task.first_true + part.column, part.columns}, padded,
         labels);
    load(prediction_, {first + part.row, part.rows, task.first_pred + part.column, part.columns},
         padded, predictions);
    const TileLoop<T> loop =
        task.loops.hard_labels && ops_.binary(labels, n) ? task.loops.hard_labels : task.loops.any;
    const auto evaluate = [&](T* value, T* total) {
      loop(task.parameters, labels, predictions, nullptr, nullptr, task.scale, value, total,
           gradient_ ? own : nullptr, false, padded);
    };
    double sum = 0;
    if (weight_.data)
      evaluate(values, nullptr);
    else
      sum = sum_of_values(ops_, n, padded, values, evaluate);
    if (gradient_) {
      T* to = slopes + part.row * call_.pred_columns + task.first_pred + part.column;
      const T* from = own;
      for (int64_t row = 0; row < part.rows; ++row, to += call_.pred_columns) {
        const T weight = weight_.data ? weights[part.row + row] : T(1);
        for (int64_t c = 0; c < part.columns; ++c) to[c] += weight * *from++;
      }
    }
    if (!weight_.data) return sum;
    for (int64_t row = 0, i = 0; row < part.rows; ++row)
      for (int64_t c = 0; c < part.columns; ++c, ++i) values[i] *= weights[part.row + row];
    return double(ops_.sum(values, n));
  }

  void load(const Matrix& matrix, const Part& part, int64_t padded, T* to) const {
    alignas(64) char raw[kTile * sizeof(double)];
    void* const out = matrix.dtype == dtype_of<T>() ? static_cast<void*>(to) : raw;
    switch (matrix.size) {
      case 1:
        gather<uint8_t>(matrix, part, out);
        break;
      case 2:
        gather<uint16_t>(matrix, part, out);
        break;
      case 4:
        gather<uint32_t>(matrix, part, out);
        break;
      default:
        gather<uint64_t>(matrix, part, out);
    }
    const int64_t n = part.elements();
    if (out == raw) ops_.load(matrix.dtype, raw, to, n);
    std::fill(to + n, to + padded, T(0.5));
  }

  const fastloss_columns& call_;
  const TileOps<T>& ops_;
  const Matrix label_, prediction_;
  const BroadcastWeights<T> weight_;
  std::vector<Task<T>> tasks_;
  char* gradient_ = nullptr;
  bool stream_ = false;
};

}  // namespace
}  // namespace fastloss

int fastloss_columns_forward(const fastloss_columns* call, void* loss, void* task_values,
                             void* gradient) {
  using namespace fastloss;
  if (check_columns(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    ColumnsDriver<double>(*call).forward(static_cast<double*>(loss),
                                         static_cast<double*>(task_values), gradient);
  else
    ColumnsDriver<float>(*call).forward(static_cast<float*>(loss), static_cast<float*>(task_values),
                                        gradient);
  return 0;
}

int fastloss_columns_backward(const fastloss_columns* call, const void* upstream, void* gradient) {
  using namespace fastloss;
  if (check_columns(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    ColumnsDriver<double>(*call).backward(static_cast<const double*>(upstream), gradient);
  else
    ColumnsDriver<float>(*call).backward(static_cast<const float*>(upstream), gradient);
  return 0;
}
