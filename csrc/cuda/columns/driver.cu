// The driver of the columns pattern on a GPU.
#include "api/error.h"
#include "api/fastloss_cuda.h"
#include "cuda/columns/pass.h"
#include "cuda/common/summary.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

// Offsets into a call's scratch.
struct Scratch {
  DivisorScratch divisor;
  RowTiles tiles;
  int64_t partials, bytes;

  explicit Scratch(const fastloss_columns& call)
      : divisor(DivisorScratch::of_weights(call, 0)),
        tiles(call.rows, call.pred_columns,
              call.y_pred_dtype == FASTLOSS_FLOAT64 ? kColumnTileCapacity<double>
                                                    : kColumnTileCapacity<float>),
        partials(divisor.end) {
    bytes = partials + call.task_count * tiles.pieces.count * int64_t(sizeof(double));
  }
};

template <class T>
class Driver {
 public:
  Driver(const fastloss_columns& call, void* scratch, void* stream)
      : call_(call), layout_(call), scratch_(static_cast<char*>(scratch)), stream_(stream) {
    pass_.tiles = layout_.tiles;
    pass_.y_true_dtype = call.y_true_dtype;
    pass_.y_true_size = int32_t(dtype_size(call.y_true_dtype));
    pass_.y_pred_dtype = call.y_pred_dtype;
    pass_.y_pred_size = int32_t(dtype_size(call.y_pred_dtype));
    pass_.true_columns = call.true_columns;
    pass_.y_true = call.y_true;
    pass_.y_pred = call.y_pred;
    pass_.factor = static_cast<const T*>(call.factor);
    if (call.weight)
      pass_.weight = BroadcastWeights<T>(call.weight, call.weight_count, call.weight_repeat);
    pass_.inverse = inverse_of(call, double(call.rows), layout_.divisor, scratch_);
  }

  int forward(T* loss, T* task_values, void* gradient) {
    pass_.partials = reinterpret_cast<double*>(scratch_ + layout_.partials);
    if (start_pass(gradient)) return -1;
    Summary<T> summary{};
    summary.count = call_.task_count;
    summary.pieces = layout_.tiles.pieces.count;
    summary.partials = pass_.partials;
    summary.inverse = pass_.inverse;
    summary.empty = !call_.rows;
    for (int32_t k = 0; k < call_.task_count; ++k) {
      summary.term_scale[k] = row_scale(call_.tasks[k]);
      summary.loss_scale[k] = call_.tasks[k].term.factor * row_scale(call_.tasks[k]);
    }
    summary.factor = pass_.factor;
    summary.loss = loss;
    summary.term_values = task_values;
    return launch_summary(summary, stream_);
  }

  int backward(const T* upstream, void* gradient) {
    pass_.upstream = upstream;
    return start_pass(gradient);
  }

 private:
  static double row_scale(const fastloss_task& task) {
    const bool mean = find_loss(kElementwiseLosses, task.term.loss)->mean;
    return mean ? 1.0 / double(task.columns) : 1.0;
  }

  int start_pass(void* gradient) {
    pass_.gradient = gradient;
    if (start_divisor<T>(call_, layout_.divisor, scratch_, stream_)) return -1;
    if (!layout_.tiles.pieces.count) return 0;
    TaggedTasks<T> tasks{};
    tasks.count = call_.task_count;
    for (int32_t k = 0; k < call_.task_count; ++k) {
      const fastloss_task& task = call_.tasks[k];
      tasks.tasks[k] = {TaggedTerm<T>(task.term, task.term.factor * row_scale(task)),
                        task.first_true, task.first_pred, task.columns};
    }
    return launch_columns(tasks, pass_, stream_);
  }

  const fastloss_columns& call_;
  const Scratch layout_;
  char* const scratch_;
  void* const stream_;
  ColumnPass<T> pass_{};
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
