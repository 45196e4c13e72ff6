#include "tensorflow/loss_op.h"

#include <algorithm>
#include <cstring>

#include "api/fastloss_cuda.h"

namespace fastloss {
namespace {

int32_t reduction_code(const std::string& name) {
  if (name == "none") return FASTLOSS_NONE;
  if (name == "sum") return FASTLOSS_SUM;
  if (name == "mean") return FASTLOSS_MEAN;
  if (name == "mean_with_sample_weight") return FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
  throw invalid("reduction is '" + name +
                "'; expected 'none', 'sum', 'mean' or 'mean_with_sample_weight'");
}

// How weights of shape `dims` broadcast to `rows`, the shape of the losses. It is regular where, in
// row-major order, each weight is that of `repeat` rows, and after the last the first comes again.
struct Broadcast {
  bool is_valid = true, is_regular = true;
  int64_t repeat = 1;
};

Broadcast broadcast_of(const Dims& dims, const Dims& rows) {
  Broadcast broadcast;
  broadcast.is_valid = dims.size() <= rows.size();
  bool varies = false, starts_again = false;
  for (size_t i = 1; i <= rows.size(); ++i) {
    const int64_t row = rows[rows.size() - i];
    const int64_t dim = i <= dims.size() ? dims[dims.size() - i] : 1;
    if (dim != row && dim != 1) broadcast.is_valid = false;
    if (row == 1) continue;
    if (dim == row) {
      if (starts_again) broadcast.is_regular = false;
      varies = true;
    } else if (varies) {
      starts_again = true;
    } else {
      broadcast.repeat *= row;
    }
  }
  return broadcast;
}

void use_expanded(const void* data, int64_t count, const Dims& dims, Weights* weights) {
  weights->data = data;
  weights->expansion = count / std::max<int64_t>(1, count_of(dims));
  weights->count = count;
  weights->repeat = 1;
}

// One number per row.
void expand(const Dims& dims, const Dims& rows, bool wide, Weights* weights) {
  const int64_t count = count_of(rows);
  weights->expanded.resize(count);
  const void* const from = weights->data;
  void* const to = weights->expanded.data();
  for (int64_t row = 0; row < count; ++row) {
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
  use_expanded(to, count, dims, weights);
}

decltype(&fastloss_cuda_expand) expand_there;

// The same on a GPU, of numbers in its memory.
void expand_on_gpu(const Run& run, const Dims& dims, const Dims& rows, TF_DataType dtype,
                   Weights* weights) {
  Dims strides(rows.size());
  int64_t stride = 1;
  for (size_t i = 1; i <= dims.size(); ++i) {
    const int64_t dim = dims[dims.size() - i];
    strides[rows.size() - i] = dim > 1 ? stride : 0;
    stride *= dim;
  }
  const int64_t count = count_of(rows);
  weights->expanded_on_gpu = run.temporary(count * size_of(dtype));
  void* const to = TF_TensorData(weights->expanded_on_gpu.get());
  check_gpu(expand_there(dtype, int32_t(rows.size()), rows.data(), strides.data(), weights->data,
                         to, gpu_stream(run.context())));
  use_expanded(to, count, dims, weights);
}

void set_output(TF_ShapeInferenceContext* context, int index, const Shape& shape,
                TF_Status* status) {
  TF_ShapeInferenceContextSetOutput(context, index, shape.get(), status);
}

Shape input_shape(TF_ShapeInferenceContext* context, int index, TF_Status* status) {
  Shape shape(TF_NewShapeHandle());
  TF_ShapeInferenceContextGetInput(context, index, shape.get(), status);
  return shape;
}

}  // namespace

std::vector<double> float64s(const std::vector<int64_t>& bits) {
  std::vector<double> numbers(bits.size());
  if (!bits.empty()) std::memcpy(numbers.data(), bits.data(), bits.size() * sizeof(double));
  return numbers;
}

void check_accumulation(const Attributes& attributes) {
  if (attributes.type("A") != accumulation_type(attributes.type("T")))
    throw invalid(
        "A does not fit T: expected float64 for float64 predictions, float32 for all others");
}

LossAttributes::LossAttributes(const Attributes& attributes, bool per_row)
    : loss_(attributes.string("loss")),
      parameters_(float64s(attributes.integers("parameters"))),
      reduction_(reduction_code(attributes.string("reduction"))),
      weights_(attributes.integer("N")),
      second_weights_(attributes.integer("M")) {
  check_accumulation(attributes);
  if (weights_ > 1 || second_weights_ > 1)
    throw invalid("N is " + std::to_string(weights_) + " and M is " +
                  std::to_string(second_weights_) + "; expected at most one weight of each kind");
  const int64_t replicas = attributes.integer("replicas");
  if (replicas < 1 || replicas > INT32_MAX)
    throw invalid("replicas is " + std::to_string(replicas) +
                  "; expected a positive 32-bit number");
  replicas_ = int32_t(replicas);
  if (per_row != (reduction_ == FASTLOSS_NONE))
    throw invalid(per_row ? "this op gives a loss per row; expected the reduction 'none'"
                          : "this op gives a scalar; expected a reduction other than 'none'");
}

void LossAttributes::check_weight_type(const char* name, const Tensor& tensor,
                                       const Tensor& y_pred) const {
  if (TF_TensorType(tensor.get()) != accumulation_type(TF_TensorType(y_pred.get())))
    throw invalid(loss_ + ": " + name +
                  " must be float64 for float64 predictions and float32 for all others");
}

bool LossAttributes::find_on_gpu() { return find_gpu_function("expand", &expand_there); }

void LossAttributes::read_weight(const Run& run, const Tensor& weight, const Tensor& y_pred,
                                 const Dims& rows, Weights* weights) const {
  check_weight_type("sample_weight", weight, y_pred);
  const Dims dims = dims_of(weight.get());
  const Broadcast broadcast = broadcast_of(dims, rows);
  if (!broadcast.is_valid)
    throw invalid(loss_ + ": sample_weight has shape " + text_of(dims) +
                  ", which does not broadcast to the losses' shape " + text_of(rows));
  weights->data = TF_TensorData(weight.get());
  weights->count = count_of(dims);
  weights->repeat = broadcast.repeat;
  if (broadcast.is_regular) return;
  const TF_DataType dtype = TF_TensorType(weight.get());
  if (run.on_gpu())
    expand_on_gpu(run, dims, rows, dtype, weights);
  else
    expand(dims, rows, dtype == FASTLOSS_FLOAT64, weights);
}

Op& Op::input(const char* spec) {
  TF_OpDefinitionBuilderAddInput(builder, spec);
  return *this;
}

Op& Op::output(const char* spec) {
  TF_OpDefinitionBuilderAddOutput(builder, spec);
  return *this;
}

Op& Op::attribute(const char* spec) {
  TF_OpDefinitionBuilderAddAttr(builder, spec);
  return *this;
}

Op& Op::stateful() {
  TF_OpDefinitionBuilderSetIsStateful(builder, true);
  return *this;
}

void Op::define(TF_ShapeFunction shape) {
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, shape);
  const Status status(TF_NewStatus());
  TF_RegisterOpDefinition(builder, status.get());
  check(status);
}

void scalar_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  set_output(context, 0, Shape(TF_ShapeInferenceContextScalar(context)), status);
}

void scalar_and_gradient_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  scalar_shape(context, status);
  if (TF_GetCode(status) == TF_OK) set_output(context, 1, input_shape(context, 1, status), status);
}

void leading_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
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

void unknown_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

Op loss_op(const std::string& name, const char* second) {
  Op op(name);
  op.input("y_true: L").input("y_pred: T").input("weight: N * W");
  if (second) op.input(second);
  op.attribute(
      "L: {bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, half, bfloat16, "
      "float, double}");
  op.attribute("T: {half, bfloat16, float, double}");
  op.attribute("W: {float, double} = DT_FLOAT");
  op.attribute("N: int >= 0").attribute(second ? "M: int >= 0" : "M: int = 0");
  op.attribute("loss: string").attribute("parameters: list(int)");
  op.attribute("reduction: {'none', 'sum', 'mean', 'mean_with_sample_weight'}");
  op.attribute("replicas: int = 1");
  return op;
}

}  // namespace fastloss
