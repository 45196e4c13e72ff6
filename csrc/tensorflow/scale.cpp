#include "loss_op.h"
#include "register.h"

namespace fastloss {
namespace {

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

}  // namespace

void register_scale() {
  Op("FastlossScale")
      .attribute("T: {half, bfloat16, float, double}")
      .attribute(kAccumulation)
      .input("gradient: T")
      .input("upstream: A")
      .output("scaled: T")
      .define(first_input_shape);
  register_kernels<Scale>("FastlossScale");
}

}  // namespace fastloss
