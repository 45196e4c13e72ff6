// The ops of the boxes.
#include "tensorflow/loss_op.h"
#include "tensorflow/register.h"

namespace fastloss {
namespace {

class Boxes : public LossAttributes {
  using Core = fastloss::Core<fastloss_boxes_forward, fastloss_boxes_backward>;

 public:
  struct Inputs {
    Tensor y_true, y_pred, weight;
    Dims shape, rows;
    Weights weights;
    fastloss_boxes call = {};
  };

  Boxes(const Attributes& attributes, bool per_row)
      : LossAttributes(attributes, per_row),
        box_format_(attributes.string("box_format") == "centre" ? FASTLOSS_CENTRE
                                                                : FASTLOSS_CORNERS) {}

  int read(const Run& run, Inputs* inputs) const {
    int next = 0;
    inputs->y_true = run.input(next++);
    inputs->y_pred = run.input(next++);
    if (weights_) inputs->weight = run.input(next++);

    const Dims& shape = inputs->shape = dims_of(inputs->y_pred.get());
    const Dims labels = dims_of(inputs->y_true.get());
    if (labels != shape)
      throw invalid(loss_ + ": y_true has shape " + text_of(labels) + " and y_pred has shape " +
                    text_of(shape) + "; expected the same shape, one label for each box");
    if (shape.empty() || shape.back() != 4)
      throw invalid(loss_ + ": y_pred has shape " + text_of(shape) +
                    "; expected boxes, whose last dimension is 4");
    inputs->rows.assign(shape.begin(), shape.end() - 1);
    if (inputs->weight)
      read_weight(run, inputs->weight, inputs->y_pred, inputs->rows, &inputs->weights);
    fill(run, inputs->y_true, inputs->y_pred, inputs->weights, &inputs->call);
    inputs->call.box_format = box_format_;
    inputs->call.boxes = count_of(inputs->rows);
    return next;
  }

  void forward(const Run& run, const Inputs& inputs, void* loss, void*, void* gradient) const {
    Core::forward(run, inputs.call, loss, gradient);
  }
  void backward(const Run& run, const Inputs& inputs, const void* upstream, void* gradient) const {
    Core::backward(run, inputs.call, upstream, gradient);
  }
  static bool find_on_gpu() { return LossAttributes::find_on_gpu() && Core::find_on_gpu("boxes"); }
  bool in_place() const { return true; }

 private:
  int32_t box_format_;
};

}  // namespace

void register_boxes() {
  register_pattern<Boxes>("FastlossBoxes", nullptr, leading_shape,
                          [](Op& op) { op.attribute("box_format: {'corners', 'centre'}"); });
}

}  // namespace fastloss
