// The ops of the elementwise pattern.
#include <algorithm>
#include <sstream>

#include "api/elementwise_call.h"
#include "tensorflow/loss_op.h"
#include "tensorflow/register.h"

namespace fastloss {
namespace {

class Elementwise : public LossAttributes {
  using Core = fastloss::Core<fastloss_elementwise_forward, fastloss_elementwise_backward>;

 public:
  struct Inputs {
    Tensor y_true, y_pred, weight, column_weight;
    Dims shape, rows;
    Weights weights;
    fastloss_elementwise call = {};
  };

  Elementwise(const Attributes& attributes, bool per_row) : LossAttributes(attributes, per_row) {
    read_terms(float64s(attributes.integers("factors")));
  }

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
    if (inputs->weight)
      read_weight(run, inputs->weight, inputs->y_pred, inputs->rows, &inputs->weights);
    fill_all_but_loss(run, inputs->y_true, inputs->y_pred, inputs->weights, &inputs->call);
    inputs->call.terms = terms_.data();
    inputs->call.term_count = int32_t(terms_.size());
    inputs->call.rows = count_of(inputs->rows);
    inputs->call.columns = inputs->shape.back();
    if (inputs->column_weight) read_column_weight(inputs);
    return next;
  }

  int64_t terms() const { return int64_t(terms_.size()); }
  void forward(const Run& run, const Inputs& inputs, void* loss, void* values,
               void* gradient) const {
    Core::forward(run, inputs.call, loss, values, gradient);
  }
  void backward(const Run& run, const Inputs& inputs, const void* upstream, void* gradient) const {
    Core::backward(run, inputs.call, upstream, gradient);
  }
  static bool find_on_gpu() {
    return LossAttributes::find_on_gpu() && Core::find_on_gpu("elementwise");
  }
  bool in_place() const { return in_place_; }

 private:
  // The names of a sum's losses are joined by '+', their parameters follow each other, and each has
  // a factor; one loss needs none.
  void read_terms(const std::vector<double>& factors) {
    std::istringstream text(loss_);
    for (std::string name; std::getline(text, name, '+');) names_.push_back(name);
    if (factors.empty() ? names_.size() != 1 : names_.size() != factors.size())
      throw invalid(loss_ + ": factors has " + std::to_string(factors.size()) +
                    " numbers; expected one for each of the " + std::to_string(names_.size()) +
                    " losses");
    const double* next = parameters_.data();
    const double* const end = next + parameters_.size();
    for (size_t k = 0; k < names_.size(); ++k) {
      const bool last = k + 1 == names_.size();
      // An unknown loss, and a last one with too many or too few, is left to the core to name.
      const ElementwiseLoss* const loss = find_loss(kElementwiseLosses, names_[k].c_str());
      const ptrdiff_t wanted = loss ? loss->parameter_count() : 0;
      const ptrdiff_t count = last ? end - next : std::min(end - next, wanted);
      terms_.push_back({names_[k].c_str(), next, int32_t(count), factors.empty() ? 1 : factors[k]});
      next += count;
      in_place_ &= loss && !loss->needs_all_labels;
    }
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

  std::vector<std::string> names_;
  std::vector<fastloss_term> terms_;
  bool in_place_ = true;
};

}  // namespace

void register_elementwise() {
  const char* const column_weight = "column_weight: M * W";
  const auto extend = [](Op& op) { op.attribute("factors: list(int) = []"); };
  register_pattern<Elementwise>("FastlossElementwise", column_weight, leading_shape, extend);
  register_sum<Elementwise>("FastlossElementwiseSum", column_weight, extend);
}

}  // namespace fastloss
