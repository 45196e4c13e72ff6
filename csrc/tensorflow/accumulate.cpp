#include <cstring>

#include "api/fastloss_cuda.h"
#include "tensorflow/loss_op.h"
#include "tensorflow/register.h"
#include "tensorflow/rows.h"

namespace fastloss {
namespace {

// total with `part` added to its rows from `begin` on; in total's own buffer where that is free.
class Accumulate {
 public:
  explicit Accumulate(const Attributes& attributes) { check_accumulation(attributes); }
  void run(const Run& run) {
    Tensor total = run.input(0);
    const Tensor part = run.input(1), begin = run.input(2);
    const Dims dims = dims_of(total.get()), added = dims_of(part.get());
    const int64_t first = first_row(added, dims, begin);
    const TF_DataType dtype = TF_TensorType(part.get());
    const TF_DataType wide = TF_TensorType(total.get());
    const void* const from = TF_TensorData(total.get());
    bool forwarded;
    char* const to =
        static_cast<char*>(run.forwarded_output(0, dims, 0, std::move(total), &forwarded));
    const int64_t row = count_of(Dims(dims.begin() + 1, dims.end())), count = count_of(dims);
    void* const rows = to + first * row * size_of(wide);
    if (run.on_gpu()) {
      void* const stream = gpu_stream(run.context());
      const int64_t next = 1;
      // An array whose neighbours stay neighbours is copied.
      if (!forwarded) check_gpu(copy_there_(wide, 1, &count, &next, from, to, stream));
      return check_gpu(
          accumulate_there_(dtype, count_of(added), TF_TensorData(part.get()), rows, stream));
    }
    if (!forwarded) std::memcpy(to, from, count * size_of(wide));
    void* context = nullptr;
    const fastloss_parallel_for parallel_for = tensorflow_parallel_for(run.context(), &context);
    check_call(fastloss_accumulate(dtype, count_of(added), TF_TensorData(part.get()), rows,
                                   parallel_for, context));
  }
  static bool find_on_gpu() {
    return find_gpu_function("expand", &copy_there_) &&
           find_gpu_function("accumulate", &accumulate_there_);
  }

 private:
  inline static decltype(&fastloss_cuda_expand) copy_there_;
  inline static int (*accumulate_there_)(int32_t dtype, int64_t count, const void* part,
                                         void* total, void* stream);
};

}  // namespace

void register_accumulate() {
  Op("FastlossAccumulate")
      .attribute("T: {half, bfloat16, float, double}")
      .attribute(kAccumulation)
      .input("total: A")
      .input("part: T")
      .input("begin: int32")
      .output("accumulated: A")
      .define(first_input_shape);
  // As everywhere in TensorFlow, an index is in the host's memory.
  register_kernels<Accumulate>("FastlossAccumulate", Accumulate::find_on_gpu, {"begin"});
}

}  // namespace fastloss
