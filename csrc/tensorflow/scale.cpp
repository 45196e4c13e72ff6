#include "api/fastloss_cuda.h"
#include "tensorflow/loss_op.h"
#include "tensorflow/register.h"

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
    // A GPU looks at the factor when it comes to it.
    if (!run.on_gpu() && is_one(dtype, factor)) return run.output(0, gradient);
    const Dims dims = dims_of(gradient.get());
    const int64_t count = count_of(dims);
    const void* const from = TF_TensorData(gradient.get());
    void* const to = run.large_output(0, dtype, dims, 0, std::move(gradient), &forwards_);
    if (run.on_gpu())
      return check_gpu(scale_there_(dtype, count, from, factor, to, gpu_stream(run.context())));
    void* context = nullptr;
    const fastloss_parallel_for parallel_for = tensorflow_parallel_for(run.context(), &context);
    check_call(fastloss_scale(dtype, count, from, factor, to, parallel_for, context));
  }
  static bool find_on_gpu() { return find_gpu_function("scale", &scale_there_); }

 private:
  static bool is_one(TF_DataType dtype, const void* factor) {
    return dtype == FASTLOSS_FLOAT64 ? *static_cast<const double*>(factor) == 1
                                     : *static_cast<const float*>(factor) == 1;
  }

  inline static decltype(&fastloss_cuda_scale) scale_there_;
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
  register_kernels<Scale>("FastlossScale", Scale::find_on_gpu);
}

}  // namespace fastloss
