// Losses of ranges of columns of the CUDA sources, run on the host, against those of the CPU.
#include <vector>

#include "api/elementwise_call.h"
#include "compare.h"

namespace {

const Pattern<fastloss_columns> kColumns = {
    fastloss_cuda_columns_scratch,
    [](const fastloss_columns* call, void* loss, void* values, void* gradient, void* scratch) {
      return fastloss_cuda_columns_forward(call, loss, values, gradient, scratch, nullptr);
    },
    [](const fastloss_columns* call, const void* upstream, void* gradient, void* scratch) {
      return fastloss_cuda_columns_backward(call, upstream, gradient, scratch, nullptr);
    },
    fastloss_columns_forward, fastloss_columns_backward};

const double kParameters[] = {0.5, 2, 1, 0, 1e-7};
fastloss_term term_of(const char* loss, double factor) {
  const auto* const entry = fastloss::find_loss(fastloss::kElementwiseLosses, loss);
  return {loss, kParameters, entry->parameter_count(), factor};
}
const char* const kLosses[] = {
    "mean_squared_error", "huber",   "binary_crossentropy_from_logits",       "kl_divergence",
    "log_cosh",           "poisson", "binary_focal_crossentropy_from_logits", "pinball"};

struct Shape {
  int64_t rows, true_columns, pred_columns;
};

// Ranges that overlap, that leave columns out, that are empty, one over all.
std::vector<fastloss_task> tasks_of(const Shape& shape, int count, size_t turn) {
  const int64_t shared = std::min(shape.true_columns, shape.pred_columns);
  std::vector<fastloss_task> tasks;
  for (int k = 0; k < count; ++k) {
    const int64_t columns = k == 0 ? shared : k == 3 ? 0 : (shared + k) / (k + 1);
    const fastloss_term term = term_of(kLosses[(turn + k) % 8], k % 2 ? 0.5 : 1);
    tasks.push_back({term, (shape.true_columns - columns) / 2,
                     k % 2 ? shape.pred_columns - columns : 0, columns});
  }
  return tasks;
}

void check_calls() {
  const Shape shapes[] = {{0, 3, 4},   {3, 0, 0},      {1, 1, 1},       {7, 5, 9},
                          {341, 3, 5}, {2, 700, 999},  {5, 2048, 2048}, {3, 2500, 5001},
                          {700, 6, 7}, {1, 9000, 9000}};
  const int32_t predictions[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                                 FASTLOSS_BFLOAT16};
  const int32_t labels[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_BFLOAT16, FASTLOSS_UINT8,
                            FASTLOSS_INT32,   FASTLOSS_BOOL,    FASTLOSS_INT64};
  // Fibers are slow under the address sanitizer.
#ifdef __SANITIZE_ADDRESS__
  constexpr size_t kStep = 5;
#else
  constexpr size_t kStep = 1;
#endif
  size_t turn = 0;
  for (const Shape& shape : shapes)
    for (const int32_t prediction : predictions)
      for (const int count : {1, 3, 5, FASTLOSS_CUDA_MAX_TERMS}) {
        if (++turn % kStep) continue;
        if (count > 5 && shape.rows * shape.pred_columns > 4000) continue;
        const int32_t label = labels[turn % 7];
        const int offset = int(turn / kStep % 5);
        const std::vector<fastloss_task> tasks = tasks_of(shape, count, turn);
        context = "y_true " + std::to_string(label) + ", y_pred " + std::to_string(prediction) +
                  ", (" + std::to_string(shape.rows) + ", " + std::to_string(shape.true_columns) +
                  " and " + std::to_string(shape.pred_columns) + "), " + std::to_string(count) +
                  " tasks, offset " + std::to_string(offset);
        const int32_t wide = prediction == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
        Array y_true(label, shape.rows * shape.true_columns, offset);
        Array y_pred(prediction, shape.rows * shape.pred_columns, offset);
        Array weight(wide, shape.rows), of_two(wide, 2);
        y_true.fill(true), y_pred.fill(false), weight.fill(false), of_two.fill(false);
        fastloss_columns call{};
        call.tasks = tasks.data(), call.task_count = count;
        call.replicas = 2;
        call.y_true_dtype = label, call.y_pred_dtype = prediction;
        call.rows = shape.rows;
        call.true_columns = shape.true_columns, call.pred_columns = shape.pred_columns;
        call.y_true = y_true.data(), call.y_pred = y_pred.data();
        const auto compare = [&](int32_t reduction) {
          call.reduction = reduction;
          Comparison<fastloss_columns>(kColumns, call, {1, count, shape.rows * shape.pred_columns},
                                       offset)
              .run();
        };
        compare(FASTLOSS_SUM);
        Array factor(wide, count);
        factor.fill(false);
        if (turn % 3) call.factor = factor.data();
        compare(FASTLOSS_MEAN);
        call.weight = weight.data(), call.weight_count = shape.rows, call.weight_repeat = 1;
        compare(FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT);
        call.weight = of_two.data(), call.weight_count = 2, call.weight_repeat = 3;
        call.weight_expansion = 2;
        compare(turn % 2 ? FASTLOSS_MEAN : FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT);
      }
}

void check_alignment() {
  context = "alignment";
  for (const int32_t dtype :
       {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16, FASTLOSS_BFLOAT16})
    for (const Shape& shape : {Shape{333, 7, 7}, Shape{2, 3001, 3001}}) {
      const std::vector<fastloss_task> tasks = tasks_of(shape, 3, 0);
      Array y_true(FASTLOSS_FLOAT32, shape.rows * shape.true_columns);
      Array y_pred(dtype, shape.rows * shape.pred_columns);
      y_true.fill(true), y_pred.fill(false);
      fastloss_columns call{};
      call.tasks = tasks.data(), call.task_count = 3;
      call.replicas = 1, call.reduction = FASTLOSS_MEAN;
      call.y_true_dtype = FASTLOSS_FLOAT32, call.y_pred_dtype = dtype;
      call.rows = shape.rows;
      call.true_columns = shape.true_columns, call.pred_columns = shape.pred_columns;
      call.y_true = y_true.data(), call.y_pred = y_pred.data();
      check_moved(kColumns, call, {1, 3, y_pred.count()}, y_true.count());
    }
}

void check_refusals() {
  context = "refusals";
  Array x(FASTLOSS_FLOAT32, 4);
  x.fill(false);
  std::vector<fastloss_task> tasks(FASTLOSS_CUDA_MAX_TERMS + 1,
                                   fastloss_task{term_of("huber", 1), 0, 0, 2});
  fastloss_columns call{};
  call.tasks = tasks.data(), call.task_count = 1;
  call.replicas = 1, call.reduction = FASTLOSS_SUM;
  call.y_true_dtype = call.y_pred_dtype = FASTLOSS_FLOAT32;
  call.rows = 2, call.true_columns = call.pred_columns = 2;
  call.y_true = call.y_pred = x.data();
  double scratch[64];
  float loss;
  const auto forward = [&] {
    return fastloss_cuda_columns_forward(&call, &loss, nullptr, nullptr, scratch, nullptr);
  };
  check(!forward(), "a good call");
  call.task_count = FASTLOSS_CUDA_MAX_TERMS + 1;
  check(forward() == -1 && fastloss_cuda_columns_scratch(&call) == -1, "too many tasks");
  call.task_count = 1;
  tasks[0].columns = 3;
  check(forward() == -1, "more columns than there are");
  tasks[0].columns = 2;
  tasks[0].term.loss = "hinge", tasks[0].term.parameter_count = 0;
  check(forward() == -1, "a loss that reads all labels first");
  tasks[0].term = term_of("huber", 1);
  call.reduction = FASTLOSS_NONE;
  check(forward() == -1, "a loss of each row");
}

}  // namespace

int main() {
  check_calls();
  check_alignment();
  check_refusals();
  return report();
}
