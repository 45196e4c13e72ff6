// The boxes of the CUDA sources, run on the host, against those of the CPU.
#include "compare.h"

namespace {

const Pattern<fastloss_boxes> kBoxes = {
    fastloss_cuda_boxes_scratch,
    [](const fastloss_boxes* call, void* loss, void*, void* gradient, void* scratch) {
      return fastloss_cuda_boxes_forward(call, loss, gradient, scratch, nullptr);
    },
    [](const fastloss_boxes* call, const void* upstream, void* gradient, void* scratch) {
      return fastloss_cuda_boxes_backward(call, upstream, gradient, scratch, nullptr);
    },
    [](const fastloss_boxes* call, void* loss, void*, void* gradient) {
      return fastloss_boxes_forward(call, loss, gradient);
    },
    fastloss_boxes_backward};

const char* const kLosses[] = {"box_iou", "generalized_box_iou", "distance_box_iou",
                               "complete_box_iou"};
const double kEpsilon[] = {1e-7};

fastloss_boxes call_of(const char* loss, int32_t format, int64_t boxes, Array* y_true,
                       Array* y_pred) {
  fastloss_boxes call{};
  call.loss = loss;
  call.parameters = kEpsilon;
  call.parameter_count = 1;
  call.replicas = 2;
  call.reduction = FASTLOSS_SUM;
  call.y_true_dtype = y_true->dtype(), call.y_pred_dtype = y_pred->dtype();
  call.box_format = format;
  call.boxes = boxes;
  call.y_true = y_true->data(), call.y_pred = y_pred->data();
  return call;
}

// Corners in order, or a centre and a size; `integers` for labels of such dtypes.
void fill_boxes(Array* boxes, int32_t format, bool integers) {
  double numbers[4];
  for (int64_t i = 0; i < boxes->count(); ++i) {
    const double x = uniform();
    const double low = integers ? int(x * 4) : int(x * 32) / 64.0;
    const double size = integers ? 1 + int(uniform() * 4) : 0.25 + int(uniform() * 32) / 64.0;
    numbers[i % 4] = i % 4 < 2 ? low : format == FASTLOSS_CENTRE ? size : numbers[i % 4 - 2] + size;
    boxes->put(i, numbers[i % 4]);
  }
}

void check_losses() {
  const int32_t predictions[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16,
                                 FASTLOSS_BFLOAT16};
  const int32_t labels[] = {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_BFLOAT16,
                            FASTLOSS_UINT8,   FASTLOSS_INT32,   FASTLOSS_INT16,
                            FASTLOSS_INT64,   FASTLOSS_FLOAT16};
  const int64_t counts[] = {0, 1, 3, 255, 256, 257, 1000};
  size_t turn = 0;
  for (const char* loss : kLosses)
    for (const int32_t prediction : predictions)
      for (const int32_t format : {FASTLOSS_CORNERS, FASTLOSS_CENTRE})
        for (const int64_t boxes : counts) {
          const int32_t label = labels[turn % 8];
          const int offset = int(turn % 5);
          ++turn;
          context = std::string(loss) + ", y_true " + std::to_string(label) + ", y_pred " +
                    std::to_string(prediction) + ", " + std::to_string(boxes) + " boxes, format " +
                    std::to_string(format) + ", offset " + std::to_string(offset);
          const int32_t wide = prediction == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
          const bool integers = label == FASTLOSS_UINT8 || label == FASTLOSS_INT32 ||
                                label == FASTLOSS_INT16 || label == FASTLOSS_INT64;
          Array y_true(label, 4 * boxes, offset), y_pred(prediction, 4 * boxes, offset);
          Array weight(wide, boxes), of_two(wide, 2);
          fill_boxes(&y_true, format, integers), fill_boxes(&y_pred, format, false);
          weight.fill(false), of_two.fill(false);
          fastloss_boxes call = call_of(loss, format, boxes, &y_true, &y_pred);
          const auto compare = [&] {
            const int64_t losses = call.reduction == FASTLOSS_NONE ? boxes : 1;
            Comparison<fastloss_boxes>(kBoxes, call, {losses, 0, 4 * boxes}, offset).run();
          };
          compare();
          call.reduction = FASTLOSS_MEAN;
          compare();
          call.weight = weight.data(), call.weight_count = boxes, call.weight_repeat = 1;
          call.reduction = FASTLOSS_NONE;
          compare();
          call.weight = of_two.data(), call.weight_count = 2, call.weight_repeat = 3;
          call.weight_expansion = 3;
          call.reduction = FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
          compare();
        }
}

void check_alignment() {
  context = "alignment";
  for (const int32_t dtype :
       {FASTLOSS_FLOAT32, FASTLOSS_FLOAT64, FASTLOSS_FLOAT16, FASTLOSS_BFLOAT16}) {
    Array y_true(FASTLOSS_FLOAT32, 4 * 301), y_pred(dtype, 4 * 301);
    fill_boxes(&y_true, FASTLOSS_CORNERS, false), fill_boxes(&y_pred, FASTLOSS_CORNERS, false);
    check_moved(kBoxes, call_of(kLosses[3], FASTLOSS_CORNERS, 301, &y_true, &y_pred),
                {1, 0, 4 * 301}, 4 * 301);
  }
}

void check_special_values() {
  const double special[] = {0, 1, -1, INFINITY, -INFINITY, NAN, 0.5, 1000, -1000, 2};
  for (const char* loss : kLosses)
    for (const int32_t format : {FASTLOSS_CORNERS, FASTLOSS_CENTRE}) {
      context = std::string(loss) + " of special values";
      Array y_true(FASTLOSS_FLOAT32, 400), y_pred(FASTLOSS_FLOAT32, 400);
      fill_boxes(&y_true, format, false);
      for (int64_t i = 0; i < 400; ++i) y_pred.put(i, special[int(uniform() * 10)]);
      fastloss_boxes call = call_of(loss, format, 100, &y_true, &y_pred);
      call.reduction = FASTLOSS_NONE;
      Array found(FASTLOSS_FLOAT32, 100), expected(FASTLOSS_FLOAT32, 100);
      Array scratch(FASTLOSS_FLOAT64, fastloss_cuda_boxes_scratch(&call) / 8);
      check(!kBoxes.forward(&call, found.data(), nullptr, nullptr, scratch.data()), "forward");
      check(!kBoxes.cpu_forward(&call, expected.data(), nullptr, nullptr), "on the CPU");
      check(close(found, expected, 1e-5), "the loss");
    }
}

void check_refusals() {
  context = "refusals";
  Array boxes(FASTLOSS_FLOAT32, 8);
  boxes.fill(false);
  fastloss_boxes call = call_of("box_iou", FASTLOSS_CORNERS, 2, &boxes, &boxes);
  double scratch[16], loss[2];
  const auto forward = [&](void* gradient) {
    return fastloss_cuda_boxes_forward(&call, loss, gradient, scratch, nullptr);
  };
  check(!forward(nullptr), "a good call");
  call.reduction = FASTLOSS_NONE;
  check(forward(scratch) == -1, "a gradient of each box's loss");
  call.loss = "box_union";
  check(forward(nullptr) == -1 && fastloss_cuda_boxes_scratch(&call) == -1, "an unknown loss");
  check(std::strstr(fastloss_cuda_error(), "box_union") != nullptr, "the error names it");
}

}  // namespace

int main() {
  check_losses();
  check_alignment();
  check_special_values();
  check_refusals();
  return report();
}
