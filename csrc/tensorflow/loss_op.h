// What the ops of all patterns share: attributes, sample weights, and the kernels around a
// pattern's forward and backward pass. The loss is an attribute, so that a new one needs no new op.
#pragma once

#include <atomic>

#include "tensorflow/core.h"
#include "tensorflow/threads.h"

namespace fastloss {

// A list of float64 whose bits came as integers: TensorFlow's float attributes have 32 bits.
std::vector<double> float64s(const std::vector<int64_t>& bits);
void check_accumulation(const Attributes& attributes);

// Weights of the rows as a call to the core wants them.
struct Weights {
  const void* data = nullptr;
  int64_t count = 0, repeat = 1, expansion = 0;
  std::vector<double> expanded;  // holds float32 as well
  Tensor expanded_on_gpu;
};

// The attributes that all losses have.
class LossAttributes {
 public:
  // `per_row` kernels give a loss per row, the others a scalar.
  LossAttributes(const Attributes& attributes, bool per_row);

 protected:
  // Whether the CUDA library has what weights ask for.
  static bool find_on_gpu();

  std::string loss_;
  std::vector<double> parameters_;
  int32_t reduction_, replicas_;
  int64_t weights_, second_weights_;  // how many of each input there are: none or one

  // `name` is what the user calls the tensor.
  void check_weight_type(const char* name, const Tensor& tensor, const Tensor& y_pred) const;
  void read_weight(const Run& run, const Tensor& weight, const Tensor& y_pred, const Dims& rows,
                   Weights* weights) const;

  // Fills in what the calls of all patterns of one loss have.
  template <class Call>
  void fill(const Run& run, const Tensor& y_true, const Tensor& y_pred, const Weights& weights,
            Call* call) const {
    call->loss = loss_.c_str();
    call->parameters = parameters_.data();
    call->parameter_count = int32_t(parameters_.size());
    fill_all_but_loss(run, y_true, y_pred, weights, call);
  }
  template <class Call>
  void fill_all_but_loss(const Run& run, const Tensor& y_true, const Tensor& y_pred,
                         const Weights& weights, Call* call) const {
    call->reduction = reduction_;
    call->replicas = replicas_;
    call->y_true_dtype = TF_TensorType(y_true.get());
    call->y_pred_dtype = TF_TensorType(y_pred.get());
    call->y_true = TF_TensorData(y_true.get());
    call->y_pred = TF_TensorData(y_pred.get());
    call->weight = weights.data;
    call->weight_count = weights.count;
    call->weight_repeat = weights.repeat;
    call->weight_expansion = weights.expansion;
    if (!run.on_gpu())
      call->parallel_for = tensorflow_parallel_for(run.context(), &call->parallel_context);
  }
};

// A pattern has Pattern(const Attributes&, bool per_row), Inputs with y_true, y_pred, shape and
// rows, read(run, &inputs) -> how many inputs there were, forward(run, inputs, loss, term values,
// gradient), backward(run, inputs, upstream, gradient), in_place(), find_on_gpu(), and, if it adds
// losses up, terms().
template <class Pattern>
class ForwardRows : public Pattern {
 public:
  explicit ForwardRows(const Attributes& attributes) : Pattern(attributes, true) {}
  void run(const Run& run) {
    typename Pattern::Inputs inputs;
    this->read(run, &inputs);
    void* const loss = run.output(0, accumulation_type(inputs.call.y_pred_dtype), inputs.rows);
    this->forward(run, inputs, loss, nullptr, nullptr);
  }
};

template <class Pattern>
class Forward : public Pattern {
 public:
  explicit Forward(const Attributes& attributes) : Pattern(attributes, false) {}
  void run(const Run& run) {
    typename Pattern::Inputs inputs;
    this->read(run, &inputs);
    void* const loss = run.output(0, accumulation_type(inputs.call.y_pred_dtype), {});
    this->forward(run, inputs, loss, nullptr, nullptr);
  }
};

// The gradient's buffer: that of y_pred where it may be overwritten and is free.
template <class Pattern>
void* gradient_output(const Pattern& pattern, const Run& run, int index,
                      typename Pattern::Inputs* inputs, std::atomic<bool>* forwards) {
  const bool in_place = pattern.in_place();
  return run.large_output(index, inputs->call.y_pred_dtype, inputs->shape, in_place ? 1 : -1,
                          in_place ? std::move(inputs->y_pred) : nullptr, forwards);
}

template <class Pattern>
class ForwardWithGradient : public Pattern {
 public:
  explicit ForwardWithGradient(const Attributes& attributes) : Pattern(attributes, false) {}
  void run(const Run& run) {
    typename Pattern::Inputs inputs;
    this->read(run, &inputs);
    void* const loss = run.output(0, accumulation_type(inputs.call.y_pred_dtype), {});
    void* const gradient = gradient_output(*this, run, 1, &inputs, &forwards_);
    this->forward(run, inputs, loss, nullptr, gradient);
  }

 private:
  std::atomic<bool> forwards_{true};
};

// A sum of losses with the value of each of them; G is 1 where the gradient is wanted too.
template <class Pattern>
class Sum : public Pattern {
 public:
  explicit Sum(const Attributes& attributes)
      : Pattern(attributes, false), with_gradient_(attributes.integer("G") != 0) {}
  void run(const Run& run) {
    typename Pattern::Inputs inputs;
    this->read(run, &inputs);
    const TF_DataType wide = accumulation_type(inputs.call.y_pred_dtype);
    void* const loss = run.output(0, wide, {});
    void* const values = run.output(1, wide, {this->terms()});
    void* const gradient =
        with_gradient_ ? gradient_output(*this, run, 2, &inputs, &forwards_) : nullptr;
    this->forward(run, inputs, loss, values, gradient);
  }

 private:
  bool with_gradient_;
  std::atomic<bool> forwards_{true};
};

template <class Pattern>
class Gradient : public Pattern {
 public:
  explicit Gradient(const Attributes& attributes)
      : Pattern(attributes, attributes.string("reduction") == "none") {}
  void run(const Run& run) {
    typename Pattern::Inputs inputs;
    const Tensor upstream = run.input(this->read(run, &inputs));
    const Dims expected = inputs.call.reduction == FASTLOSS_NONE ? inputs.rows : Dims();
    if (dims_of(upstream.get()) != expected)
      throw invalid("the upstream gradient has shape " + text_of(dims_of(upstream.get())) +
                    "; expected " + text_of(expected));
    void* const gradient = gradient_output(*this, run, 0, &inputs, &forwards_);
    this->backward(run, inputs, TF_TensorData(upstream.get()), gradient);
  }

 private:
  std::atomic<bool> forwards_{true};
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

struct Op {
  TF_OpDefinitionBuilder* builder;
  explicit Op(const std::string& name) : builder(TF_NewOpDefinitionBuilder(name.c_str())) {}
  Op& input(const char* spec);
  Op& output(const char* spec);
  Op& attribute(const char* spec);
  // Not to be merged with another op of the same inputs.
  Op& stateful();
  void define(TF_ShapeFunction shape);
};

constexpr const char* kAccumulation = "A: {float, double}";

// Shapes of outputs: of one scalar, of y_pred, of an unknown shape ...
void scalar_shape(TF_ShapeInferenceContext* context, TF_Status* status);
void scalar_and_gradient_shape(TF_ShapeInferenceContext* context, TF_Status* status);
void first_input_shape(TF_ShapeInferenceContext* context, TF_Status* status);
void second_input_shape(TF_ShapeInferenceContext* context, TF_Status* status);
void leading_shape(TF_ShapeInferenceContext* context, TF_Status* status);
void unknown_shape(TF_ShapeInferenceContext* context, TF_Status* status);

// An op with the inputs and attributes of every loss; `second` is the input beside the weights, or
// null.
Op loss_op(const std::string& name, const char* second);

// Defines and registers the ops of a pattern, "Fastloss<name>..."; `extend` adds what only this
// pattern has.
template <class Pattern, class Extend>
void register_pattern(const std::string& name, const char* second, TF_ShapeFunction rows_shape,
                      const Extend& extend) {
  const auto define = [&](const char* suffix) {
    Op op = loss_op(name + suffix, second);
    extend(op);
    op.attribute(kAccumulation);
    return op;
  };
  define("Rows").output("value: A").define(rows_shape);
  define("").output("value: A").define(scalar_shape);
  define("WithGradient").output("value: A").output("gradient: T").define(scalar_and_gradient_shape);
  define("Gradient").input("upstream: A").output("gradient: T").define(second_input_shape);
  define("Record")
      .input("value: A")
      .input("gradient: T")
      .output("recorded: A")
      .define(scalar_shape);
  register_kernels<ForwardRows<Pattern>>(name + "Rows", Pattern::find_on_gpu);
  register_kernels<Forward<Pattern>>(name, Pattern::find_on_gpu);
  register_kernels<ForwardWithGradient<Pattern>>(name + "WithGradient", Pattern::find_on_gpu);
  register_kernels<Gradient<Pattern>>(name + "Gradient", Pattern::find_on_gpu);
  register_kernels<Record>(name + "Record", Pattern::find_on_gpu);
}

template <class Pattern, class Extend>
void register_sum(const std::string& name, const char* second, const Extend& extend) {
  Op op = loss_op(name, second);
  extend(op);
  op.attribute(kAccumulation).attribute("G: int >= 0");
  op.output("value: A").output("terms: A").output("gradient: G * T").define(unknown_shape);
  register_kernels<Sum<Pattern>>(name, Pattern::find_on_gpu);
}

}  // namespace fastloss
