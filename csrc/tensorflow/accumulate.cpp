#include <cstring>

#include "loss_op.h"
#include "register.h"
#include "rows.h"

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
    if (!forwarded) std::memcpy(to, from, count_of(dims) * size_of(wide));
    const int64_t row = count_of(Dims(dims.begin() + 1, dims.end()));
    void* context = nullptr;
    const fastloss_parallel_for parallel_for = tensorflow_parallel_for(run.context(), &context);
    check_call(fastloss_accumulate(dtype, count_of(added), TF_TensorData(part.get()),
                                   to + first * row * size_of(wide), parallel_for, context));
  }
};

}  // namespace

void register_accumulate() {
  Op("FastlossAccumulate")
      .attribute("T: {half, bfloat16, float, double}")
      .attribute(kAccumulation)
      .input("total: A")
      .input("part: T")
      .input("begin: int64")
      .output("accumulated: A")
      .define(first_input_shape);
  register_kernels<Accumulate>("FastlossAccumulate");
}

}  // namespace fastloss
