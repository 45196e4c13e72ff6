// The ops of the rowwise pattern.
#include "api/rowwise_call.h"
#include "tensorflow/loss_op.h"
#include "tensorflow/register.h"

namespace fastloss {
namespace {

class Rowwise : public LossAttributes {
 protected:
  using Core = fastloss::Core<fastloss_rowwise_forward, fastloss_rowwise_backward>;

 public:
  struct Inputs {
    Tensor y_true, y_pred, weight, class_weight;
    Dims shape, rows;
    Weights weights;
    fastloss_rowwise call = {};
  };

  Rowwise(const Attributes& attributes, bool per_row)
      : LossAttributes(attributes, per_row),
        options_(float64s(attributes.integers("options"))),
        axis_(attributes.integer("axis")),
        ignores_(attributes.integer("has_ignore_class")),
        ignore_class_(attributes.integer("ignore_class")) {
    if (options_.size() != 4)
      throw invalid("options has " + std::to_string(options_.size()) +
                    " numbers; expected label_smoothing, temperature, logit_softcap and z_loss");
  }

  int read(const Run& run, Inputs* inputs) const {
    int next = 0;
    inputs->y_true = run.input(next++);
    inputs->y_pred = run.input(next++);
    if (weights_) inputs->weight = run.input(next++);
    if (second_weights_) inputs->class_weight = run.input(next++);

    const Dims& shape = inputs->shape = dims_of(inputs->y_pred.get());
    const Dims labels = dims_of(inputs->y_true.get());
    if (axis_ < 0 || axis_ >= int64_t(shape.size()))
      throw invalid(loss_ + ": axis is " + std::to_string(axis_) + " and y_pred has shape " +
                    text_of(shape) + "; expected one of its dimensions");
    inputs->rows = shape;
    inputs->rows.erase(inputs->rows.begin() + axis_);
    const RowwiseLossEntry* const entry = find_loss(kRowwiseLosses, loss_.c_str());
    const bool sparse = entry && entry->sparse;
    const Dims& expected = sparse ? inputs->rows : shape;
    if (labels != expected)
      throw invalid(loss_ + ": y_true has shape " + text_of(labels) + " and y_pred has shape " +
                    text_of(shape) + "; expected " +
                    (sparse ? "one label for each row of classes: " : "the same shape: ") +
                    text_of(expected));
    if (inputs->weight)
      read_weight(run, inputs->weight, inputs->y_pred, inputs->rows, &inputs->weights);
    fastloss_rowwise& call = inputs->call;
    fill(run, inputs->y_true, inputs->y_pred, inputs->weights, &call);
    call.outer = count_of(Dims(shape.begin(), shape.begin() + axis_));
    call.classes = shape[axis_];
    call.inner = count_of(Dims(shape.begin() + axis_ + 1, shape.end()));
    call.label_smoothing = options_[0];
    call.temperature = options_[1];
    call.logit_softcap = options_[2];
    call.z_loss = options_[3];
    call.has_ignore_class = ignores_ != 0;
    call.ignore_class = ignore_class_;
    if (inputs->class_weight) {
      check_weight_type("class_weights", inputs->class_weight, inputs->y_pred);
      const int64_t count = count_of(dims_of(inputs->class_weight.get()));
      if (count != call.classes)
        throw invalid(loss_ + ": class_weights has " + std::to_string(count) +
                      " elements; expected one for each of the " + std::to_string(call.classes) +
                      " classes");
      call.class_weight = TF_TensorData(inputs->class_weight.get());
    }
    return next;
  }

  void forward(const Run& run, const Inputs& inputs, void* loss, void*, void* gradient) const {
    Core::forward(run, inputs.call, loss, gradient, nullptr, nullptr);
  }
  void backward(const Run& run, const Inputs& inputs, const void* upstream, void* gradient) const {
    Core::backward(run, inputs.call, upstream, gradient);
  }
  static bool find_on_gpu() {
    return LossAttributes::find_on_gpu() && Core::find_on_gpu("rowwise");
  }
  bool in_place() const { return true; }

 private:
  std::vector<double> options_;
  int64_t axis_, ignores_, ignore_class_;
};

// The losses of the rows with what else the same pass finds.
class Metrics : public Rowwise {
 public:
  explicit Metrics(const Attributes& attributes) : Rowwise(attributes, true) {}
  void run(const Run& run) const {
    Inputs inputs;
    read(run, &inputs);
    const TF_DataType wide = accumulation_type(inputs.call.y_pred_dtype);
    void* const loss = run.output(0, wide, inputs.rows);
    void* const log_sum_exp = run.output(1, wide, inputs.rows);
    void* const hit = run.output(2, FASTLOSS_BOOL, inputs.rows);
    Core::forward(run, inputs.call, loss, nullptr, log_sum_exp, static_cast<uint8_t*>(hit));
  }
};

}  // namespace

void register_rowwise() {
  const char* const class_weight = "class_weight: M * W";
  const auto extend = [](Op& op) {
    op.attribute("options: list(int)").attribute("axis: int");
    op.attribute("has_ignore_class: int = 0").attribute("ignore_class: int = 0");
  };
  register_pattern<Rowwise>("FastlossRowwise", class_weight, unknown_shape, extend);
  Op metrics = loss_op("FastlossRowwiseMetrics", class_weight);
  extend(metrics);
  metrics.attribute(kAccumulation).output("value: A").output("log_sum_exp: A").output("hit: bool");
  metrics.define(unknown_shape);
  register_kernels<Metrics>("FastlossRowwiseMetrics", Metrics::find_on_gpu);
}

}  // namespace fastloss
