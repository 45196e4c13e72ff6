// A tensor that is made once and filled part by part, without a copy.
#include "tensorflow/loss_op.h"
#include "tensorflow/register.h"
#include "tensorflow/rows.h"

namespace fastloss {
namespace {

// A tensor of a shape, with whatever was in its memory; a recycled buffer where it is large.
class Empty {
 public:
  explicit Empty(const Attributes& attributes) : dtype_(attributes.type("T")) {}
  void run(const Run& run) {
    const Tensor shape = run.input(0);
    const Dims rank = dims_of(shape.get());
    if (rank.size() != 1)
      throw invalid("shape has shape " + text_of(rank) + "; expected one number per dimension");
    const int64_t* const sizes = static_cast<const int64_t*>(TF_TensorData(shape.get()));
    const Dims dims(sizes, sizes + rank[0]);
    if (std::any_of(dims.begin(), dims.end(), [](int64_t size) { return size < 0; }))
      throw invalid("shape is " + text_of(dims) + "; expected no negative number");
    std::atomic<bool> forwards{false};
    run.large_output(0, dtype_, dims, -1, Tensor(), &forwards);
  }

 private:
  const TF_DataType dtype_;
};

// Writes `part` over the rows of `whole` from `begin` on, in whole's own memory: to be given what
// FastlossEmpty or this op has made, and nothing that is read elsewhere.
class UpdateRows {
 public:
  explicit UpdateRows(const Attributes&) {}
  void run(const Run& run) {
    const Tensor whole = run.input(0), part = run.input(1), begin = run.input(2);
    const Dims dims = dims_of(whole.get()), updated = dims_of(part.get());
    const int64_t first = first_row(updated, dims, begin);
    const int64_t size = size_of(TF_TensorType(whole.get()));
    const int64_t row = count_of(Dims(dims.begin() + 1, dims.end())) * size;
    void* context = nullptr;
    const fastloss_parallel_for parallel_for = tensorflow_parallel_for(run.context(), &context);
    check_call(fastloss_copy(updated[0] * row, TF_TensorData(part.get()),
                             static_cast<char*>(TF_TensorData(whole.get())) + first * row,
                             parallel_for, context));
    run.output(0, whole);
  }
};

}  // namespace

void register_update_rows() {
  Op("FastlossEmpty")
      .attribute("T: {half, bfloat16, float, double}")
      .input("shape: int64")
      .output("empty: T")
      .stateful()
      .define(unknown_shape);
  register_kernels_on<Empty, false>("CPU", "FastlossEmpty", {});
  Op("FastlossUpdateRows")
      .attribute("T: {half, bfloat16, float, double}")
      .input("whole: T")
      .input("part: T")
      .input("begin: int64")
      .output("updated: T")
      .stateful()
      .define(first_input_shape);
  register_kernels_on<UpdateRows, false>("CPU", "FastlossUpdateRows", {});
}

}  // namespace fastloss
