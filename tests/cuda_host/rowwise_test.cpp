// The rowwise losses of the CUDA sources, run on the host, against those of the CPU: losses,
// dtypes, options, and rows on both sides of every border between the kernels.
#include "rowwise_calls.h"

namespace {

using fastloss::cuda::shared_limit;

const int32_t kPredictions[] = {FASTLOSS_FLOAT32, FASTLOSS_BFLOAT16, FASTLOSS_FLOAT64,
                                FASTLOSS_FLOAT16};
const int32_t kLabels[] = {FASTLOSS_INT32,  FASTLOSS_FLOAT32, FASTLOSS_UINT8,    FASTLOSS_INT64,
                           FASTLOSS_UINT16, FASTLOSS_FLOAT64, FASTLOSS_BFLOAT16, FASTLOSS_INT8,
                           FASTLOSS_UINT32, FASTLOSS_FLOAT16, FASTLOSS_UINT64,   FASTLOSS_INT16,
                           FASTLOSS_BOOL};
const int64_t kShapes[][3] = {
    // Short rows, of one lane to 32.
    {0, 3, 1},
    {3, 0, 1},
    {7, 1, 1},
    {300, 3, 1},
    {41, 8, 1},
    {70, 10, 1},
    {33, 65, 1},
    {9, 256, 1},
    // Contiguous rows of a warp, of a block, and of a larger one.
    {9, 257, 1},
    {3, 512, 1},
    {3, 513, 1},
    {9, 1024, 1},
    {2, 1025, 1},
    {2, 2048, 1},
    {2, 2049, 1},
    {2, 4097, 1},
    {1, 8192, 1},
    {1, 8193, 1},
    {1, 16384, 1},
    {2, 16387, 1},
    // Strided rows.
    {2, 5, 7},
    {0, 5, 7},
    {2, 0, 3},
    {3, 20, 33},
    {1, 300, 2},
    {2, 4, 256},
    {1, 3, 301},
};
constexpr size_t kShapeCount = sizeof(kShapes) / sizeof(*kShapes);

void check_loss(const Loss& loss, int32_t prediction, int32_t label, const int64_t (&shape)[3],
                int offset) {
  const int64_t rows = shape[0] * shape[2], classes = shape[1];
  context = loss.name + ", y_true " + std::to_string(label) + ", y_pred " +
            std::to_string(prediction) + ", (" + std::to_string(shape[0]) + ", " +
            std::to_string(classes) + ", " + std::to_string(shape[2]) + "), offset " +
            std::to_string(offset);
  const int32_t wide = wide_of(prediction);
  Array y_true(label, loss.sparse ? rows : rows * classes, (offset + 1) % 3);
  Array y_pred(prediction, rows * classes, offset);
  Array weight(wide, rows), class_weight(wide, classes);
  fill_labels(loss, classes, &y_true), fill_predictions(loss, &y_pred);
  weight.fill(false), class_weight.fill(false);
  fastloss_rowwise call = call_of(loss, label, prediction, shape);
  call.y_true = y_true.data(), call.y_pred = y_pred.data();
  check_call(call, offset);
  call.reduction = FASTLOSS_MEAN;
  if (loss.logits) call.temperature = 2, call.z_loss = 0.01;
  check_call(call, (offset + 3) % 5);
  const bool labels_are_logits = loss.name.find("divergence") != std::string::npos;
  if (!labels_are_logits) {
    call.class_weight = class_weight.data();
    call.label_smoothing = loss.name.find("generalized") != std::string::npos ? 0 : 0.1;
  }
  if (loss.logits) call.logit_softcap = 3;
  call.weight = weight.data(), call.weight_count = rows, call.weight_repeat = 1;
  call.has_ignore_class = 1;
  call.ignore_class = loss.sparse ? 1 : 0;
  if (!loss.sparse)
    // The labels of the last row are 0 but for the ignored class.
    for (int64_t c = 1; c < classes && rows; ++c)
      y_true.put((shape[0] - 1) * classes * shape[2] + c * shape[2] + shape[2] - 1, 0);
  call.reduction = FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
  call.weight_expansion = 3;
  check_call(call, offset);
  call.reduction = FASTLOSS_MEAN;
  check_call(call, offset);
  call.label_smoothing = 0;
  call.reduction = FASTLOSS_NONE;
  check_call(call, offset);
  call.has_ignore_class = 0;
  call.reduction = FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
  check_call(call, offset);
}

// The sanitizers are slow, and look for accesses that do not depend on the loss: with them, some of
// the cases, which have every length in some dtype.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kTurns = 1, kEvery = 3;
#else
constexpr size_t kTurns = 3, kEvery = 1;
#endif

// Each loss and dtype has some of the shapes, each shape all dtypes of labels.
void check_losses() {
  size_t turn = 0;
  for (const Loss& loss : losses())
    for (const int32_t prediction : kPredictions)
      for (size_t k = 0; k < kTurns; ++k, ++turn) {
        // In large steps, so that each loss has all kinds of rows.
        const auto& shape = kShapes[(7 * turn + turn / kShapeCount) % kShapeCount];
        int32_t label = kLabels[turn % 13];
        // Sparse labels of few dtypes hold few classes, which rows of one class lack.
        if (loss.sparse && !shape[1]) continue;
        // With little shared memory, most of a row is read again.
        shared_limit = turn % 3 == 2 ? 20 << 10 : 225 << 10;
        if (shape[2] == 1 && shape[1] <= 256) shared_limit = 225 << 10;
        check_loss(loss, prediction, label, shape, int(turn % 5));
      }
  shared_limit = 225 << 10;
}

// The two most used losses, over all shapes.
void check_shapes() {
  for (const Loss& loss : losses()) {
    if (loss.name != "sparse_categorical_crossentropy_from_logits" &&
        loss.name != "categorical_crossentropy_from_logits")
      continue;
    for (size_t s = 0; s < kShapeCount; ++s)
      for (size_t p = 0; p < 3; ++p) {
        if ((loss.sparse && !kShapes[s][1]) || (s + p) % kEvery) continue;
        const int32_t prediction = kPredictions[p];
        const int32_t label = loss.sparse ? FASTLOSS_INT32 : prediction;
        check_loss(loss, prediction, label, kShapes[s], int((3 * s + p) % 7));
      }
  }
}

// The bits of a row depend neither on its index, nor on other rows, nor on how much shared memory
// there is.
void check_equal_rows() {
  size_t turn = 0;
  for (const Loss& loss : losses())
    for (const int32_t prediction : {FASTLOSS_BFLOAT16, FASTLOSS_FLOAT32, FASTLOSS_FLOAT64})
      for (const int64_t classes : {3, 10, 131, 259, 1027, 2053, 8209, 16395}) {
        // 8 lengths, which is no multiple of 3: each dtype meets others.
        if (turn++ % kEvery) continue;
        if (classes > 2053 && loss.name.find("crossentropy_from_logits") == std::string::npos)
          continue;
        const int64_t rows = 9, shape[3] = {rows, classes, 1};
        context = loss.name + ", equal rows of " + std::to_string(classes) + ", y_pred " +
                  std::to_string(prediction);
        const int32_t label = loss.sparse ? FASTLOSS_INT16 : FASTLOSS_FLOAT32;
        const int64_t labels = loss.sparse ? 1 : classes;
        Array y_true(label, rows * labels), y_pred(prediction, rows * classes, 1);
        Array one_label(label, labels), one(prediction, classes);
        fill_labels(loss, classes, &one_label), fill_predictions(loss, &one);
        const auto repeat = [&](const Array& from, Array& to) {
          for (int64_t row = 0; row < rows; ++row)
            std::memcpy(static_cast<char*>(to.data()) + row * from.bytes(),
                        const_cast<Array&>(from).data(), size_t(from.bytes()));
        };
        repeat(one_label, y_true), repeat(one, y_pred);
        fastloss_rowwise call = call_of(loss, label, prediction, shape);
        call.y_true = y_true.data(), call.y_pred = y_pred.data();
        Outputs sum(call, 3);
        check(!forward(call, true, true, &sum), "forward");
        if (classes > 1027) {
          shared_limit = 8 << 10;
          Outputs scarce(call, 3);
          check(!forward(call, true, true, &scarce), "forward with a small cache");
          check(scarce.loss == sum.loss && scarce.gradient == sum.gradient,
                "the size of the cache changes no bit");
          shared_limit = 225 << 10;
        }
        call.reduction = FASTLOSS_NONE;
        Outputs each(call, 0);
        check(!forward(call, false, false, &each), "forward");
        const char* const slopes = static_cast<const char*>(sum.gradient.data());
        const int64_t bytes = one.bytes();
        for (int64_t row = 1; row < rows; ++row) {
          check(each.loss.at(row) == each.loss.at(0), "equal rows have equal losses");
          check(!std::memcmp(slopes + row * bytes, slopes, size_t(bytes)),
                "equal rows have equal gradients");
        }
      }
}

}  // namespace

int main() {
  check_losses();
  check_shapes();
  check_equal_rows();
  return report();
}
