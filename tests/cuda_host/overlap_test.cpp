// The overlap losses of the CUDA sources, run on the host, against those of the CPU.
#include "cuda/overlap/layout.h"
#include "overlap_calls.h"

namespace {

void describe(const fastloss_overlap& call, int option, int offset) {
  context = std::string(call.loss) + " (" + std::to_string(call.outer) + ", " +
            std::to_string(call.above) + ", " + std::to_string(call.classes) + ", " +
            std::to_string(call.inner) + "), y_true " + std::to_string(call.y_true_dtype) +
            ", y_pred " + std::to_string(call.y_pred_dtype) + ", option " + std::to_string(option) +
            ", offset " + std::to_string(offset);
}

// One call with the options that the bits of `option` say, in several reductions.
void check_option(size_t loss, const Shape& shape, int32_t prediction, int option, size_t turn) {
  const int32_t masks[] = {FASTLOSS_UINT8,   FASTLOSS_INT32,   FASTLOSS_INT64,  FASTLOSS_INT16,
                           FASTLOSS_UINT16,  FASTLOSS_FLOAT32, FASTLOSS_UINT64, FASTLOSS_UINT32,
                           FASTLOSS_FLOAT64, FASTLOSS_BFLOAT16};
  const int32_t labels[] = {FASTLOSS_FLOAT32, FASTLOSS_UINT8,   FASTLOSS_BFLOAT16,
                            FASTLOSS_INT64,   FASTLOSS_FLOAT64, FASTLOSS_FLOAT16};
  const int offset = int(turn % 5);
  const bool sparse = option / 3 % 2;
  // uint8 and bfloat16 do not hold all classes of a wide row.
  const int32_t label =
      sparse ? masks[shape.classes > 200 ? 1 + turn % 2 : turn % 10] : labels[turn % 6];
  fastloss_overlap call = call_of(loss, shape, label, prediction);
  call.activation = option % 3;
  call.sparse = sparse;
  call.per_outer = option / 6 % 2;
  call.per_class = option / 12 % 2 && !kLosses[loss].together;
  call.squared = option / 24 % 2;
  call.skip_background = option / 48 % 2;
  call.has_ignore_class = option / 96 % 2;
  call.ignore_class = 1;
  describe(call, option, offset);
  const int32_t wide = wide_of(prediction);
  Array y_true(label, sparse ? shape.positions() : shape.elements(), offset);
  Array y_pred(prediction, shape.elements(), offset);
  fill_labels(&y_true, call), y_pred.fill(false);
  call.y_true = y_true.data(), call.y_pred = y_pred.data();
  const int64_t groups = groups_of(call);
  Array weight(wide, groups), class_weight(wide, shape.classes);
  weight.fill(false), class_weight.fill(false);
  if (turn % 2 && (call.per_class || kLosses[loss].together))
    call.class_weight = class_weight.data();
  const fastloss_term* const fused_terms = fusable_terms_of(call);
  if (fused_terms && turn % 3 != 2) {
    call.fused_terms = fused_terms;
    call.fused_term_count = turn % 3 ? 3 : 1;
    call.reduction = turn % 2 ? FASTLOSS_SUM : FASTLOSS_MEAN;
    return compare(call, shape, offset);
  }
  call.reduction = turn % 2 ? FASTLOSS_SUM : FASTLOSS_MEAN;
  compare(call, shape, offset);
  call.weight = weight.data(), call.weight_count = groups, call.weight_repeat = 1;
  call.reduction = turn % 2 ? FASTLOSS_NONE : FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
  call.weight_expansion = 2;
  compare(call, shape, offset);
}

void check_options() {
  // A tile holds 8 to 2048 positions, of up to 256 classes in shared memory.
  const Shape shapes[] = {{1, 1, 1, 1},   {2, 33, 3, 1},   {2, 3, 5, 17},   {1, 300, 19, 1},
                          {3, 1, 2, 64},  {0, 2, 3, 1},    {2, 0, 3, 4},    {1, 2, 0, 3},
                          {1, 9, 65, 2},  {2, 5, 129, 4},  {1, 20, 256, 1}, {2, 9, 257, 1},
                          {1, 3, 300, 8}, {2, 2500, 1, 1}, {3, 600, 4, 1}};
  const int32_t predictions[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                                 FASTLOSS_BFLOAT16};
  // Fibers are slow under the address sanitizer.
#ifdef __SANITIZE_ADDRESS__
  constexpr int kStep = 151;
#else
  constexpr int kStep = 13;
#endif
  size_t turn = 0;
  for (const Shape& shape : shapes)
    for (const int32_t prediction : predictions)
      for (int option = int(turn % kStep); option < 192; option += kStep, ++turn)
        check_option((turn + turn / 7) % 7, shape, prediction, option, turn);
}

// Pieces of several tiles, which many images make.
void check_pieces() {
#ifdef __SANITIZE_ADDRESS__
  return;
#endif
  for (const bool sparse : {false, true}) {
    context = sparse ? "pieces of wide tiles" : "pieces";
    const Shape shape = sparse ? Shape{260, 17, 257, 1} : Shape{2049, 9, 129, 1};
    const int32_t dtype = sparse ? FASTLOSS_FLOAT32 : FASTLOSS_FLOAT64;
    fastloss_overlap call = call_of(0, shape, sparse ? FASTLOSS_INT16 : FASTLOSS_UINT8, dtype);
    call.activation = FASTLOSS_SOFTMAX;
    call.per_outer = 1, call.sparse = sparse;
    check(fastloss::cuda::OverlapLayout(call, sparse ? 4 : 8).tiles_of_piece > 1, "several tiles");
    Array y_true(call.y_true_dtype, sparse ? shape.positions() : shape.elements());
    Array y_pred(dtype, shape.elements());
    fill_labels(&y_true, call), y_pred.fill(false);
    call.y_true = y_true.data(), call.y_pred = y_pred.data();
    Array loss(dtype, 1), gradient(dtype, shape.elements());
    Array expected(dtype, 1), expected_gradient(dtype, shape.elements());
    Array scratch(FASTLOSS_FLOAT64, fastloss_cuda_overlap_scratch(&call) / 8);
    check(!kOverlap.forward(&call, loss.data(), nullptr, gradient.data(), scratch.data()),
          "forward");
    check(!kOverlap.cpu_forward(&call, expected.data(), nullptr, expected_gradient.data()),
          "on the CPU");
    check(near(loss, expected, 2e-5), "the loss");
    check(near(gradient, expected_gradient, 2e-5), "the gradient");
  }
}

void check_alignment() {
  context = "alignment";
  for (const int32_t dtype :
       {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16, FASTLOSS_BFLOAT16})
    for (const Shape& shape : {Shape{2, 77, 5, 1}, Shape{2, 3, 5, 24}, Shape{1, 9, 300, 1}})
      for (const int32_t activation : {FASTLOSS_SIGMOID, FASTLOSS_SOFTMAX}) {
        fastloss_overlap call = call_of(1, shape, FASTLOSS_FLOAT32, dtype);
        call.activation = activation, call.per_class = 1;
        Array y_true(FASTLOSS_FLOAT32, shape.elements()), y_pred(dtype, shape.elements());
        fill_labels(&y_true, call), y_pred.fill(false);
        call.y_true = y_true.data(), call.y_pred = y_pred.data();
        check_moved(kOverlap, call, {1, 1, shape.elements()}, shape.elements());
      }
}

// The loss of an image depends neither on other images nor on its own index.
void check_equal_images() {
  context = "equal images";
  for (const int64_t classes : {1, 5, 100, 300}) {
    const Shape shape = {4, 333, classes, 1};
    fastloss_overlap call = call_of(0, shape, FASTLOSS_UINT8, FASTLOSS_FLOAT32);
    call.activation = FASTLOSS_SOFTMAX, call.per_outer = 1, call.reduction = FASTLOSS_NONE;
    Array y_true(FASTLOSS_UINT8, shape.elements()), y_pred(FASTLOSS_FLOAT32, shape.elements());
    const int64_t image = shape.elements() / 4;
    for (int64_t i = 0; i < image; ++i) {
      const double label = uniform() < 0.5, prediction = uniform() * 20 - 10;
      for (int64_t k = 0; k < 4; ++k)
        y_true.put(k * image + i, label), y_pred.put(k * image + i, prediction);
    }
    call.y_true = y_true.data(), call.y_pred = y_pred.data();
    Array loss(FASTLOSS_FLOAT32, 4);
    Array scratch(FASTLOSS_FLOAT64, fastloss_cuda_overlap_scratch(&call) / 8);
    check(!kOverlap.forward(&call, loss.data(), nullptr, nullptr, scratch.data()), "forward");
    for (int k = 1; k < 4; ++k) check(loss.at(k) == loss.at(0), "equal images have equal losses");
  }
}

}  // namespace

int main() {
  check_options();
  check_pieces();
  check_alignment();
  check_equal_images();
  return report();
}
