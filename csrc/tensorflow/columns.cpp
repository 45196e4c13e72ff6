// The ops of elementwise losses of ranges of columns.
#include <sstream>

#include "tensorflow/loss_op.h"
#include "tensorflow/register.h"

namespace fastloss {
namespace {

class Columns : public LossAttributes {
  using Core = fastloss::Core<fastloss_columns_forward, fastloss_columns_backward>;

 public:
  struct Inputs {
    Tensor y_true, y_pred, weight, factor;
    Dims shape, rows;
    Weights weights;
    std::vector<fastloss_task> tasks;
    fastloss_columns call = {};
  };

  Columns(const Attributes& attributes, bool per_row)
      : LossAttributes(attributes, per_row),
        counts_(attributes.integers("counts")),
        ranges_(attributes.integers("ranges")) {
    std::istringstream text(loss_);
    for (std::string name; std::getline(text, name, '+');) names_.push_back(name);
    int64_t parameters = 0;
    for (const int64_t count : counts_) parameters += count;
    if (counts_.size() != names_.size() || ranges_.size() != 3 * names_.size() ||
        parameters != int64_t(parameters_.size()))
      throw invalid(loss_ +
                    ": expected for each loss its parameters, and the first column of y_true, the "
                    "first of y_pred and the number of columns");
  }

  int read(const Run& run, Inputs* inputs) const {
    int next = 0;
    inputs->y_true = run.input(next++);
    inputs->y_pred = run.input(next++);
    if (weights_) inputs->weight = run.input(next++);
    if (second_weights_) inputs->factor = run.input(next++);

    const Dims& shape = inputs->shape = dims_of(inputs->y_pred.get());
    const Dims labels = dims_of(inputs->y_true.get());
    if (shape.empty() || labels.empty())
      throw invalid(loss_ + ": y_true has shape " + text_of(labels) + " and y_pred has shape " +
                    text_of(shape) + "; expected at least one dimension");
    inputs->rows.assign(shape.begin(), shape.end() - 1);
    if (Dims(labels.begin(), labels.end() - 1) != inputs->rows)
      throw invalid(loss_ + ": y_true has shape " + text_of(labels) + " and y_pred has shape " +
                    text_of(shape) + "; expected the same shape but for the last dimension");
    if (inputs->weight)
      read_weight(run, inputs->weight, inputs->y_pred, inputs->rows, &inputs->weights);
    fill_all_but_loss(run, inputs->y_true, inputs->y_pred, inputs->weights, &inputs->call);
    read_tasks(inputs);
    inputs->call.tasks = inputs->tasks.data();
    inputs->call.task_count = int32_t(inputs->tasks.size());
    inputs->call.rows = count_of(inputs->rows);
    inputs->call.true_columns = labels.back();
    inputs->call.pred_columns = shape.back();
    return next;
  }

  int64_t terms() const { return int64_t(names_.size()); }
  void forward(const Run& run, const Inputs& inputs, void* loss, void* values,
               void* gradient) const {
    Core::forward(run, inputs.call, loss, values, gradient);
  }
  void backward(const Run& run, const Inputs& inputs, const void* upstream, void* gradient) const {
    Core::backward(run, inputs.call, upstream, gradient);
  }
  static bool find_on_gpu() {
    return LossAttributes::find_on_gpu() && Core::find_on_gpu("columns");
  }
  bool in_place() const { return true; }

 private:
  void read_tasks(Inputs* inputs) const {
    if (inputs->factor) {
      check_weight_type("factor", inputs->factor, inputs->y_pred);
      const Dims dims = dims_of(inputs->factor.get());
      if (dims != Dims{terms()})
        throw invalid(loss_ + ": factor has shape " + text_of(dims) + "; expected " +
                      text_of(Dims{terms()}));
      inputs->call.factor = TF_TensorData(inputs->factor.get());
    }
    const double* parameters = parameters_.data();
    for (size_t k = 0; k < names_.size(); ++k) {
      inputs->tasks.push_back({{names_[k].c_str(), parameters, int32_t(counts_[k]), 1.0},
                               ranges_[3 * k],
                               ranges_[3 * k + 1],
                               ranges_[3 * k + 2]});
      parameters += counts_[k];
    }
  }

  std::vector<std::string> names_;
  std::vector<int64_t> counts_, ranges_;
};

}  // namespace

void register_columns() {
  const char* const factor = "factor: M * W";
  const auto extend = [](Op& op) {
    op.attribute("counts: list(int)").attribute("ranges: list(int)");
  };
  register_sum<Columns>("FastlossColumns", factor, extend);
  const auto define = [&](const char* suffix) {
    Op op = loss_op(std::string("FastlossColumns") + suffix, factor);
    extend(op);
    return op.attribute(kAccumulation);
  };
  define("Gradient").input("upstream: A").output("gradient: T").define(second_input_shape);
  define("Record")
      .input("value: A")
      .input("gradient: T")
      .output("recorded: A")
      .define(scalar_shape);
  register_kernels<Gradient<Columns>>("FastlossColumnsGradient", Columns::find_on_gpu);
  register_kernels<Record>("FastlossColumnsRecord", Columns::find_on_gpu);
}

}  // namespace fastloss
