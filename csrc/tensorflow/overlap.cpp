// The ops of the overlap pattern.
#include <sstream>

#include "tensorflow/loss_op.h"
#include "tensorflow/register.h"

namespace fastloss {
namespace {

// The dimensions of y_pred as the core sees them.
struct Geometry {
  int64_t outer = 1, above = 1, classes = 1, inner = 1;
  bool per_outer = false, per_class = false;
};

int64_t count_between(const Dims& shape, int64_t begin, int64_t end) {
  return count_of(Dims(shape.begin() + begin, shape.begin() + end));
}

Geometry with_classes(const Dims& shape, const Dims& group_axes, int64_t axis) {
  Geometry g;
  g.outer = axis > 0 ? shape[0] : 1;
  g.above = axis > 0 ? count_between(shape, 1, axis) : 1;
  g.classes = shape[axis];
  g.inner = count_between(shape, axis + 1, int64_t(shape.size()));
  for (const int64_t dim : group_axes) {
    if (dim == axis)
      g.per_class = true;
    else if (dim == 0)
      g.per_outer = true;
    else
      throw invalid("dimension " + std::to_string(dim) +
                    " is a group axis; beside classes, expected the first dimension or none");
  }
  return g;
}

// Neighbouring dimensions of groups, or of what is summed over, are one.
Geometry without_classes(const Dims& shape, const Dims& group_axes) {
  std::vector<int64_t> runs;  // of groups and of what is summed over, in turn
  bool in_groups = true;
  runs.push_back(1);
  for (int64_t dim = 0, next = 0; dim < int64_t(shape.size()); ++dim) {
    const bool is_group_axis = next < int64_t(group_axes.size()) && group_axes[next] == dim;
    next += is_group_axis;
    if (is_group_axis != in_groups) {
      in_groups = is_group_axis;
      runs.push_back(1);
    }
    runs.back() *= shape[dim];
  }
  if (runs.size() > 4)
    throw invalid("the group axes " + text_of(group_axes) + " of the shape " + text_of(shape) +
                  " are in too many places; expected them at the front and in one more place");
  runs.resize(4, 1);
  Geometry g;
  g.outer = runs[0], g.above = runs[1], g.classes = runs[2], g.inner = runs[3];
  g.per_outer = true;
  g.per_class = true;
  return g;
}

class Overlap : public LossAttributes {
  using Core = fastloss::Core<fastloss_overlap_forward, fastloss_overlap_backward>;

 public:
  struct Inputs {
    Tensor y_true, y_pred, weight, class_weight;
    Dims shape, rows;
    Weights weights;
    std::vector<fastloss_term> fused_terms;
    fastloss_overlap call = {};
  };

  Overlap(const Attributes& attributes, bool per_row)
      : LossAttributes(attributes, per_row),
        group_axes_(attributes.integers("group_axes")),
        class_axis_(attributes.integer("class_axis")),
        activation_(activation_code(attributes.string("activation"))),
        sparse_(attributes.integer("sparse")),
        squared_(attributes.integer("squared")),
        skips_first_(!attributes.integer("include_background")),
        ignores_(attributes.integer("has_ignore_class")),
        ignore_class_(attributes.integer("ignore_class")),
        factor_(float64s(attributes.integers("factor"))),
        fused_term_factors_(float64s(attributes.integers("fused_term_factors"))),
        fused_term_parameters_(float64s(attributes.integers("fused_term_parameters"))),
        fused_term_counts_(attributes.integers("fused_term_counts")) {
    std::istringstream names(attributes.string("fused_terms"));
    for (std::string name; names >> name;) fused_terms_.push_back(name);
    int64_t parameters = 0;
    for (const int64_t count : fused_term_counts_) parameters += count;
    if (factor_.size() != 1 || fused_term_factors_.size() != fused_terms_.size() ||
        fused_term_counts_.size() != fused_terms_.size() ||
        parameters != int64_t(fused_term_parameters_.size()))
      throw invalid(loss_ +
                    ": expected one factor, and for each fused_term a factor and its parameters");
    if (class_axis_ < 0 &&
        (activation_ == FASTLOSS_SOFTMAX || sparse_ || skips_first_ || ignores_ || second_weights_))
      throw invalid(loss_ +
                    ": softmax, class labels, class_weights, ignore_class and leaving out the "
                    "background need a class_axis");
  }

  int read(const Run& run, Inputs* inputs) const {
    int next = 0;
    inputs->y_true = run.input(next++);
    inputs->y_pred = run.input(next++);
    if (weights_) inputs->weight = run.input(next++);
    if (second_weights_) inputs->class_weight = run.input(next++);

    const Dims& shape = inputs->shape = dims_of(inputs->y_pred.get());
    const int64_t rank = int64_t(shape.size());
    if (class_axis_ >= rank)
      throw invalid(loss_ + ": class_axis is " + std::to_string(class_axis_) +
                    " and y_pred has shape " + text_of(shape) + "; expected one of its dimensions");
    for (const int64_t dim : group_axes_) {
      if (dim < 0 || dim >= rank)
        throw invalid(loss_ + ": dimension " + std::to_string(dim) +
                      " is a group axis and y_pred has shape " + text_of(shape) +
                      "; expected some of its dimensions");
      inputs->rows.push_back(shape[dim] - (skips_first_ && dim == class_axis_ && shape[dim] > 0));
    }
    check_labels(*inputs);
    const Geometry geometry = class_axis_ < 0 ? without_classes(shape, group_axes_)
                                              : with_classes(shape, group_axes_, class_axis_);
    if (inputs->weight)
      read_weight(run, inputs->weight, inputs->y_pred, inputs->rows, &inputs->weights);
    fastloss_overlap& call = inputs->call;
    fill(run, inputs->y_true, inputs->y_pred, inputs->weights, &call);
    call.outer = geometry.outer;
    call.above = geometry.above;
    call.classes = geometry.classes;
    call.inner = geometry.inner;
    call.per_outer = geometry.per_outer;
    call.per_class = geometry.per_class;
    call.activation = activation_;
    call.sparse = sparse_ != 0;
    call.squared = squared_ != 0;
    call.skip_background = skips_first_;
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
    int64_t parameter = 0;
    for (size_t i = 0; i < fused_terms_.size(); ++i) {
      inputs->fused_terms.push_back({fused_terms_[i].c_str(),
                                     fused_term_parameters_.data() + parameter,
                                     int32_t(fused_term_counts_[i]), fused_term_factors_[i]});
      parameter += fused_term_counts_[i];
    }
    call.fused_terms = inputs->fused_terms.data();
    call.fused_term_count = int32_t(fused_terms_.size());
    call.factor = factor_[0];
    return next;
  }

  int64_t terms() const { return 1 + int64_t(fused_terms_.size()); }
  void forward(const Run& run, const Inputs& inputs, void* loss, void* values,
               void* gradient) const {
    Core::forward(run, inputs.call, loss, values, gradient);
  }
  void backward(const Run& run, const Inputs& inputs, const void* upstream, void* gradient) const {
    Core::backward(run, inputs.call, upstream, gradient);
  }
  static bool find_on_gpu() {
    return LossAttributes::find_on_gpu() && Core::find_on_gpu("overlap");
  }
  bool in_place() const { return true; }

 private:
  static int32_t activation_code(const std::string& name) {
    return name == "none"      ? FASTLOSS_IDENTITY
           : name == "sigmoid" ? FASTLOSS_SIGMOID
                               : FASTLOSS_SOFTMAX;
  }

  void check_labels(const Inputs& inputs) const {
    Dims expected = inputs.shape;
    if (sparse_) expected.erase(expected.begin() + class_axis_);
    const Dims labels = dims_of(inputs.y_true.get());
    if (labels != expected)
      throw invalid(loss_ + ": y_true has shape " + text_of(labels) + " and y_pred has shape " +
                    text_of(inputs.shape) + "; expected " +
                    (sparse_ ? "one class for each position: " : "the same shape: ") +
                    text_of(expected));
  }

  Dims group_axes_;
  int64_t class_axis_;
  int32_t activation_;
  int64_t sparse_, squared_;
  bool skips_first_;
  int64_t ignores_, ignore_class_;
  std::vector<double> factor_, fused_term_factors_, fused_term_parameters_;
  std::vector<int64_t> fused_term_counts_;
  std::vector<std::string> fused_terms_;
};

}  // namespace

void register_overlap() {
  const char* const class_weight = "class_weight: M * W";
  const auto extend = [](Op& op) {
    op.attribute("group_axes: list(int)").attribute("class_axis: int");
    op.attribute("activation: {'none', 'sigmoid', 'softmax'}").attribute("sparse: int");
    op.attribute("squared: int = 0").attribute("include_background: int = 1");
    op.attribute("has_ignore_class: int = 0").attribute("ignore_class: int = 0");
    op.attribute("factor: list(int)").attribute("fused_terms: string = ''");
    op.attribute("fused_term_factors: list(int) = []");
    op.attribute("fused_term_parameters: list(int) = []");
    op.attribute("fused_term_counts: list(int) = []");
  };
  register_pattern<Overlap>("FastlossOverlap", class_weight, unknown_shape, extend);
  register_sum<Overlap>("FastlossOverlapSum", class_weight, extend);
}

}  // namespace fastloss
