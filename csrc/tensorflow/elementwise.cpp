// The ops of the elementwise pattern. The loss is an attribute, so that a new one needs no new op.
#include <algorithm>
#include <cstring>

#include "kernel.h"
#include "register.h"
#include "threads.h"

namespace fastloss {
namespace {

int reduction_code(const std::string& name) {
  if (name == "none") return FASTLOSS_NONE;
  if (name == "sum") return FASTLOSS_SUM;
  if (name == "mean") return FASTLOSS_MEAN;
  if (name == "mean_with_sample_weight") return FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
  throw invalid("reduction is '" + name +
                "'; expected 'none', 'sum', 'mean' or 'mean_with_sample_weight'");
}

// How `dims` broadcasts to `rows`, the shape of the losses. It is regular where, in row-major
// order, each number serves `repeat` rows, and after `count` numbers the first comes again.
struct Spread {
  bool broadcasts = true, regular = true;
  int64_t repeat = 1, count = 1;
};

Spread spread_of(const Dims& dims, const Dims& rows) {
  Spread spread;
  spread.broadcasts = dims.size() <= rows.size();
  bool kept = false, starts_again = false;
  for (size_t i = 1; i <= rows.size(); ++i) {
    const int64_t row = rows[rows.size() - i];
    const int64_t dim = i <= dims.size() ? dims[dims.size() - i] : 1;
    if (dim != row && dim != 1) spread.broadcasts = false;
    if (row == 1) continue;
    if (dim == row) {
      if (starts_again) spread.regular = false;
      kept = true;
      spread.count *= dim;
    } else if (kept) {
      starts_again = true;
    } else {
      spread.repeat *= row;
    }
  }
  return spread;
}

void check_accumulation(const Attributes& attributes) {
  if (attributes.type("A") != accumulation_type(attributes.type("T")))
    throw invalid(
        "A does not fit T: expected float64 for float64 predictions, float32 for all others");
}

class Elementwise {
 public:
  // `per_row` kernels give a loss per row, the others a scalar.
  Elementwise(const Attributes& attributes, bool per_row)
      : loss_(attributes.string("loss")),
        reduction_(reduction_code(attributes.string("reduction"))),
        replicas_(attributes.integer("replicas")),
        weights_(attributes.integer("N")),
        column_weights_(attributes.integer("M")) {
    // TensorFlow's float attributes have 32 bits; ours come as the bits of a float64.
    for (const int64_t bits : attributes.integers("parameters")) {
      double parameter;
      std::memcpy(&parameter, &bits, sizeof(parameter));
      parameters_.push_back(parameter);
    }
    in_place_ = fastloss_elementwise_in_place(loss_.c_str());
    check_accumulation(attributes);
    if (weights_ > 1 || column_weights_ > 1)
      throw invalid("N is " + std::to_string(weights_) + " and M is " +
                    std::to_string(column_weights_) + "; expected at most one weight of each kind");
    if (replicas_ < 1 || replicas_ > INT32_MAX)
      throw invalid("replicas is " + std::to_string(replicas_) +
                    "; expected a positive 32-bit number");
    if (per_row != (reduction_ == FASTLOSS_NONE))
      throw invalid(per_row ? "this op gives a loss per row; expected the reduction 'none'"
                            : "this op gives a scalar; expected a reduction other than 'none'");
  }

 protected:
  struct Inputs {
    Tensor y_true, y_pred, weight, column_weight;
    Dims shape, rows;
    std::vector<double> expanded;  // holds float32 as well
    fastloss_elementwise call = {};
  };

  void read(const Run& run, Inputs* inputs) const {
    int next = 0;
    inputs->y_true = run.input(next++);
    inputs->y_pred = run.input(next++);
    if (weights_) inputs->weight = run.input(next++);
    if (column_weights_) inputs->column_weight = run.input(next++);

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

    fastloss_elementwise& call = inputs->call;
    call.loss = loss_.c_str();
    call.parameters = parameters_.data();
    call.parameter_count = int32_t(parameters_.size());
    call.reduction = reduction_;
    call.replicas = int32_t(replicas_);
    call.y_true_dtype = TF_TensorType(inputs->y_true.get());
    call.y_pred_dtype = TF_TensorType(inputs->y_pred.get());
    call.rows = count_of(inputs->rows);
    call.columns = inputs->shape.back();
    call.y_true = TF_TensorData(inputs->y_true.get());
    call.y_pred = TF_TensorData(inputs->y_pred.get());
    call.parallel_for = tensorflow_parallel_for(run.context(), &call.parallel_context);
    if (inputs->weight) read_weight(inputs);
    if (inputs->column_weight) read_column_weight(inputs);
  }

 private:
  void check_weight_type(const char* name, const Tensor& tensor, const Tensor& y_pred) const {
    if (TF_TensorType(tensor.get()) != accumulation_type(TF_TensorType(y_pred.get())))
      throw invalid(loss_ + ": " + name +
                    " must be float64 for float64 predictions and float32 for all others");
  }

  void read_weight(Inputs* inputs) const {
    check_weight_type("sample_weight", inputs->weight, inputs->y_pred);
    const Dims dims = dims_of(inputs->weight.get());
    const Spread spread = spread_of(dims, inputs->rows);
    if (!spread.broadcasts)
      throw invalid(loss_ + ": sample_weight has shape " + text_of(dims) +
                    ", which does not broadcast to the losses' shape " + text_of(inputs->rows));
    fastloss_elementwise& call = inputs->call;
    call.weight = TF_TensorData(inputs->weight.get());
    call.weight_count = count_of(dims);
    call.weight_repeat = spread.repeat;
    if (!spread.regular) expand(dims, inputs);
  }

  static void expand(const Dims& dims, Inputs* inputs) {
    const Dims& rows = inputs->rows;
    inputs->expanded.resize(inputs->call.rows);
    const bool wide = inputs->call.y_pred_dtype == FASTLOSS_FLOAT64;
    const void* const from = inputs->call.weight;
    void* const to = inputs->expanded.data();
    for (int64_t row = 0; row < inputs->call.rows; ++row) {
      int64_t rest = row, index = 0, stride = 1;
      for (size_t i = 1; i <= rows.size(); ++i) {
        const int64_t position = rest % rows[rows.size() - i];
        rest /= rows[rows.size() - i];
        const int64_t dim = i <= dims.size() ? dims[dims.size() - i] : 1;
        if (dim > 1) index += position * stride;
        stride *= dim;
      }
      if (wide)
        static_cast<double*>(to)[row] = static_cast<const double*>(from)[index];
      else
        static_cast<float*>(to)[row] = static_cast<const float*>(from)[index];
    }
    inputs->call.weight = to;
    inputs->call.weight_expansion = inputs->call.rows / std::max<int64_t>(1, count_of(dims));
    inputs->call.weight_count = inputs->call.rows;
    inputs->call.weight_repeat = 1;
  }

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

  std::string loss_;
  int reduction_;
  int64_t replicas_, weights_, column_weights_;
  std::vector<double> parameters_;

 protected:
  void check_call(int result) const {
    if (result) throw invalid(fastloss_error());
  }
  int inputs_before_upstream() const { return int(2 + weights_ + column_weights_); }

  bool in_place_;
  std::atomic<bool> forwards_{true};
};

class ForwardRows : public Elementwise {
 public:
  explicit ForwardRows(const Attributes& attributes) : Elementwise(attributes, true) {}
  void run(const Run& run) {
    Inputs inputs;
    read(run, &inputs);
    void* const loss = run.output(0, accumulation_type(inputs.call.y_pred_dtype), inputs.rows);
    check_call(fastloss_elementwise_forward(&inputs.call, loss, nullptr));
  }
};

class Forward : public Elementwise {
 public:
  explicit Forward(const Attributes& attributes) : Elementwise(attributes, false) {}
  void run(const Run& run) {
    Inputs inputs;
    read(run, &inputs);
    void* const loss = run.output(0, accumulation_type(inputs.call.y_pred_dtype), {});
    check_call(fastloss_elementwise_forward(&inputs.call, loss, nullptr));
  }
};

class ForwardWithGradient : public Elementwise {
 public:
  explicit ForwardWithGradient(const Attributes& attributes) : Elementwise(attributes, false) {}
  void run(const Run& run) {
    Inputs inputs;
    read(run, &inputs);
    const TF_DataType dtype = inputs.call.y_pred_dtype;
    void* const loss = run.output(0, accumulation_type(dtype), {});
    void* const gradient =
        in_place_
            ? run.large_output(1, dtype, inputs.shape, 1, std::move(inputs.y_pred), &forwards_)
            : run.large_output(1, dtype, inputs.shape, -1, nullptr, &forwards_);
    check_call(fastloss_elementwise_forward(&inputs.call, loss, gradient));
  }
};

class Gradient : public Elementwise {
 public:
  explicit Gradient(const Attributes& attributes)
      : Elementwise(attributes, attributes.string("reduction") == "none") {}
  void run(const Run& run) {
    Inputs inputs;
    read(run, &inputs);
    const Tensor upstream = run.input(inputs_before_upstream());
    const Dims expected = inputs.call.reduction == FASTLOSS_NONE ? inputs.rows : Dims();
    if (dims_of(upstream.get()) != expected)
      throw invalid("the upstream gradient has shape " + text_of(dims_of(upstream.get())) +
                    "; expected " + text_of(expected));
    const TF_DataType dtype = inputs.call.y_pred_dtype;
    void* const gradient =
        in_place_
            ? run.large_output(0, dtype, inputs.shape, 1, std::move(inputs.y_pred), &forwards_)
            : run.large_output(0, dtype, inputs.shape, -1, nullptr, &forwards_);
    check_call(
        fastloss_elementwise_backward(&inputs.call, TF_TensorData(upstream.get()), gradient));
  }
};

// Carries a loss that was computed with its gradient; what is recorded on an eager tape.
class Record {
 public:
  explicit Record(const Attributes& attributes)
      : loss_(int(2 + attributes.integer("N") + attributes.integer("M"))) {}
  void run(const Run& run) const { run.output(0, run.input(loss_)); }

 private:
  int loss_;
};

// gradient * upstream; the gradient itself, uncopied, where upstream is 1.
class Scale {
 public:
  explicit Scale(const Attributes& attributes) { check_accumulation(attributes); }
  void run(const Run& run) {
    Tensor gradient = run.input(0);
    const Tensor upstream = run.input(1);
    const TF_DataType dtype = TF_TensorType(gradient.get());
    if (!dims_of(upstream.get()).empty())
      throw invalid("the upstream gradient has shape " + text_of(dims_of(upstream.get())) +
                    "; expected a scalar");
    const void* const factor = TF_TensorData(upstream.get());
    if (dtype == FASTLOSS_FLOAT64 ? *static_cast<const double*>(factor) == 1
                                  : *static_cast<const float*>(factor) == 1)
      return run.output(0, gradient);
    const Dims dims = dims_of(gradient.get());
    const void* const from = TF_TensorData(gradient.get());
    void* const to = run.large_output(0, dtype, dims, 0, std::move(gradient), &forwards_);
    void* context = nullptr;
    const fastloss_parallel_for parallel_for = tensorflow_parallel_for(run.context(), &context);
    if (fastloss_scale(dtype, count_of(dims), from, factor, to, parallel_for, context))
      throw invalid(fastloss_error());
  }

 private:
  std::atomic<bool> forwards_{true};
};

void set_output(TF_ShapeInferenceContext* context, int index, const Shape& shape,
                TF_Status* status) {
  TF_ShapeInferenceContextSetOutput(context, index, shape.get(), status);
}

Shape input_shape(TF_ShapeInferenceContext* context, int index, TF_Status* status) {
  Shape shape(TF_NewShapeHandle());
  TF_ShapeInferenceContextGetInput(context, index, shape.get(), status);
  return shape;
}

void scalar_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  set_output(context, 0, Shape(TF_ShapeInferenceContextScalar(context)), status);
}

void scalar_and_gradient_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  scalar_shape(context, status);
  if (TF_GetCode(status) == TF_OK) set_output(context, 1, input_shape(context, 1, status), status);
}

void rows_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  const Shape y_pred = input_shape(context, 1, status);
  if (TF_GetCode(status) != TF_OK) return;
  if (!TF_ShapeInferenceContextRankKnown(context, y_pred.get()))
    return TF_ShapeInferenceContextSetUnknownShape(context, status);
  const Shape rows(TF_NewShapeHandle());
  TF_ShapeInferenceContextSubshape(context, y_pred.get(), 0, -1, rows.get(), status);
  if (TF_GetCode(status) == TF_OK) set_output(context, 0, rows, status);
}

void first_input_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  set_output(context, 0, input_shape(context, 0, status), status);
}

void second_input_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  set_output(context, 0, input_shape(context, 1, status), status);
}

struct Op {
  TF_OpDefinitionBuilder* builder;
  explicit Op(const char* name) : builder(TF_NewOpDefinitionBuilder(name)) {}
  Op& input(const char* spec) {
    TF_OpDefinitionBuilderAddInput(builder, spec);
    return *this;
  }
  Op& output(const char* spec) {
    TF_OpDefinitionBuilderAddOutput(builder, spec);
    return *this;
  }
  Op& attribute(const char* spec) {
    TF_OpDefinitionBuilderAddAttr(builder, spec);
    return *this;
  }
  void define(TF_ShapeFunction shape) {
    TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, shape);
    const Status status(TF_NewStatus());
    TF_RegisterOpDefinition(builder, status.get());
    check(status);
  }
};

Op elementwise_op(const char* name) {
  Op op(name);
  op.input("y_true: L").input("y_pred: T").input("weight: N * W").input("column_weight: M * W");
  op.attribute(
      "L: {bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, half, bfloat16, "
      "float, double}");
  op.attribute("T: {half, bfloat16, float, double}");
  op.attribute("W: {float, double} = DT_FLOAT");
  op.attribute("N: int >= 0").attribute("M: int >= 0");
  op.attribute("loss: string").attribute("parameters: list(int)");
  op.attribute("reduction: {'none', 'sum', 'mean', 'mean_with_sample_weight'}");
  op.attribute("replicas: int = 1");
  return op;
}

}  // namespace

void register_elementwise() {
  const char* const accumulation = "A: {float, double}";
  elementwise_op("FastlossElementwiseRows")
      .attribute(accumulation)
      .output("value: A")
      .define(rows_shape);
  elementwise_op("FastlossElementwise")
      .attribute(accumulation)
      .output("value: A")
      .define(scalar_shape);
  elementwise_op("FastlossElementwiseWithGradient")
      .attribute(accumulation)
      .output("value: A")
      .output("gradient: T")
      .define(scalar_and_gradient_shape);
  elementwise_op("FastlossElementwiseGradient")
      .attribute(accumulation)
      .input("upstream: A")
      .output("gradient: T")
      .define(second_input_shape);
  elementwise_op("FastlossElementwiseRecord")
      .attribute(accumulation)
      .input("value: A")
      .input("gradient: T")
      .output("recorded: A")
      .define(scalar_shape);
  Op("FastlossScale")
      .attribute("T: {half, bfloat16, float, double}")
      .attribute(accumulation)
      .input("gradient: T")
      .input("upstream: A")
      .output("scaled: T")
      .define(first_input_shape);

  register_kernels<ForwardRows>("FastlossElementwiseRows");
  register_kernels<Forward>("FastlossElementwise");
  register_kernels<ForwardWithGradient>("FastlossElementwiseWithGradient");
  register_kernels<Gradient>("FastlossElementwiseGradient");
  register_kernels<Record>("FastlossElementwiseRecord");
  register_kernels<Scale>("FastlossScale");
}

}  // namespace fastloss
