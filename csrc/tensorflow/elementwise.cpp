// The ops of the elementwise pattern.
#include "loss_op.h"
#include "register.h"

namespace fastloss {
namespace {

class Elementwise : public LossAttributes {
 public:
  struct Inputs {
    Tensor y_true, y_pred, weight, column_weight;
    Dims shape, rows;
    Weights weights;
    fastloss_elementwise call = {};
  };

  Elementwise(const Attributes& attributes, bool per_row)
      : LossAttributes(attributes, per_row),
        in_place_(fastloss_elementwise_in_place(loss_.c_str())) {}

  int read(const Run& run, Inputs* inputs) const {
    int next = 0;
    inputs->y_true = run.input(next++);
    inputs->y_pred = run.input(next++);
    if (weights_) inputs->weight = run.input(next++);
    if (second_weights_) inputs->column_weight = run.input(next++);

    inputs->shape = dims_of(inputs->y_pred.get());
    const Dims labels = dims_of(inputs->y_true.get());
    if (labels != inputs->shape)
      throw invalid(loss_ + ": y_true has shape " + text_of(labels) + " and y_pred has shape " +
                    text_of(inputs->shape) +
                    "; expected the same shape (a batch dimension unknown while tracing is not "
                    "broadcast: give both their shape, or broadcast before the loss)");
    if (inputs->shape.empty())
      throw invalid(loss_ + ": y_pred is a scalar; expected at least one dimension");
    inputs->rows.assign(inputs->shape.begin(), inputs->shape.end() - 1);
    if (inputs->weight) read_weight(inputs->weight, inputs->y_pred, inputs->rows, &inputs->weights);
    fill(run, inputs->y_true, inputs->y_pred, inputs->weights, &inputs->call);
    inputs->call.rows = count_of(inputs->rows);
    inputs->call.columns = inputs->shape.back();
    if (inputs->column_weight) read_column_weight(inputs);
    return next;
  }

  int64_t terms() const { return 0; }
  int forward(const Inputs& inputs, void* loss, void* gradient, void*) const {
    return fastloss_elementwise_forward(&inputs.call, loss, gradient);
  }
  int backward(const Inputs& inputs, const void* upstream, void* gradient) const {
    return fastloss_elementwise_backward(&inputs.call, upstream, gradient);
  }
  bool in_place() const { return in_place_; }

 private:
  void read_column_weight(Inputs* inputs) const {
    check_weight_type("pos_weight", inputs->column_weight, inputs->y_pred);
    const int64_t count = count_of(dims_of(inputs->column_weight.get()));
    const int64_t elements = inputs->call.rows * inputs->call.columns;
    if (count < 1 || elements % count)
      throw invalid(loss_ + ": pos_weight has " + std::to_string(count) +
                    " elements; expected one, or as many as y_pred of shape " +
                    text_of(inputs->shape) + " has classes");
    inputs->call.column_weight = TF_TensorData(inputs->column_weight.get());
    inputs->call.column_weight_count = count;
  }

  bool in_place_;
};

}  // namespace

void register_elementwise() {
  register_pattern<Elementwise>("FastlossElementwise", "column_weight: M * W", nullptr,
                                leading_shape, [](Op&) {});
}

}  // namespace fastloss
