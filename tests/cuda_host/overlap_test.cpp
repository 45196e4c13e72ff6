// The overlap losses of the CUDA sources, run on the host, against those of the CPU.
#include "compare.h"
#include "cuda/overlap/layout.h"

namespace {

const Pattern<fastloss_overlap> kOverlap = {
    fastloss_cuda_overlap_scratch,
    [](const fastloss_overlap* call, void* loss, void* values, void* gradient, void* scratch) {
      return fastloss_cuda_overlap_forward(call, loss, values, gradient, scratch, nullptr);
    },
    [](const fastloss_overlap* call, const void* upstream, void* gradient, void* scratch) {
      return fastloss_cuda_overlap_backward(call, upstream, gradient, scratch, nullptr);
    },
    fastloss_overlap_forward, fastloss_overlap_backward};

const struct {
  const char* name;
  double parameters[5];
  int32_t count;
  bool together;
} kLosses[] = {{"dice", {0.25, 0.5}, 2, false},
               {"tversky", {0.7, 0.3, 0.25, 0.5}, 4, false},
               {"jaccard", {0.25, 0.5}, 2, false},
               {"focal_tversky", {0.7, 0.3, 0.75, 0.25, 0.5}, 5, false},
               {"log_cosh_dice", {0.25, 0.5}, 2, false},
               {"matthews", {0.25, 0.5}, 2, false},
               {"generalized_dice", {2, 0.25, 0.5}, 3, true}};

struct Shape {
  int64_t outer, above, classes, inner;
  int64_t positions() const { return outer * above * inner; }
  int64_t elements() const { return positions() * classes; }
};

const double kFocal[] = {0.25, 2}, kFocalOther[] = {0.25, 1.5}, kHuber[] = {0.5}, kOrder[] = {0.7};
const fastloss_term kOfClasses[] = {
    {"sparse_categorical_crossentropy_from_logits", nullptr, 0, 0.5},
    {"sparse_categorical_focal_crossentropy_from_logits", kFocal, 2, 2},
    {"categorical_generalized_cross_entropy_from_logits", kOrder, 1, 0.25}};
const fastloss_term kOfRows[] = {
    {"categorical_crossentropy_from_logits", nullptr, 0, 0.5},
    {"categorical_focal_crossentropy_from_logits", kFocal, 2, 2},
    {"categorical_focal_crossentropy_from_logits", kFocalOther, 2, 0.25}};
const fastloss_term kOfElements[] = {{"mean_squared_error", nullptr, 0, 0.5},
                                     {"binary_crossentropy_from_logits", kHuber, 1, 2},
                                     {"huber", kHuber, 1, 0.25}};

// Those that may ride along, or null.
const fastloss_term* companions_of(const fastloss_overlap& call) {
  if (call.activation == FASTLOSS_SOFTMAX) return call.sparse ? kOfClasses : kOfRows;
  return call.sparse || call.has_ignore_class ? nullptr : kOfElements;
}

fastloss_overlap call_of(size_t loss, const Shape& shape, int32_t y_true, int32_t y_pred) {
  fastloss_overlap call{};
  call.loss = kLosses[loss].name;
  call.parameters = kLosses[loss].parameters;
  call.parameter_count = kLosses[loss].count;
  call.reduction = FASTLOSS_SUM;
  call.replicas = 2;
  call.factor = 0.75;
  call.y_true_dtype = y_true, call.y_pred_dtype = y_pred;
  call.outer = shape.outer, call.above = shape.above;
  call.classes = shape.classes, call.inner = shape.inner;
  return call;
}

void fill_labels(Array* labels, const fastloss_overlap& call) {
  for (int64_t i = 0; i < labels->count(); ++i)
    labels->put(
        i, call.sparse ? double(int(uniform() * double(call.classes))) : double(uniform() < 0.3));
}

int64_t groups_of(const fastloss_overlap& call) {
  const int64_t kept = call.classes - (call.skip_background && call.classes > 0);
  return (call.per_outer ? call.outer : 1) * (call.per_class ? kept : 1);
}

void compare(const fastloss_overlap& call, const Shape& shape, int offset) {
  const int64_t losses = call.reduction == FASTLOSS_NONE ? groups_of(call) : 1;
  Comparison<fastloss_overlap>(kOverlap, call,
                               {losses, 1 + call.fused_term_count, shape.elements()}, offset)
      .run();
}

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
  const int32_t wide = prediction == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
  Array y_true(label, sparse ? shape.positions() : shape.elements(), offset);
  Array y_pred(prediction, shape.elements(), offset);
  fill_labels(&y_true, call), y_pred.fill(false);
  call.y_true = y_true.data(), call.y_pred = y_pred.data();
  const int64_t groups = groups_of(call);
  Array weight(wide, groups), class_weight(wide, shape.classes);
  weight.fill(false), class_weight.fill(false);
  if (turn % 2 && (call.per_class || kLosses[loss].together))
    call.class_weight = class_weight.data();
  const fastloss_term* const fused_terms = companions_of(call);
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

// What shared memory is asked for is there, and every position is in one tile of one piece.
void check_layout() {
  for (const int64_t classes :
       {1, 2, 3, 4, 14, 19, 31, 32, 33, 64, 127, 128, 129, 255, 256, 257, 5000})
    for (const int64_t positions : {0, 1, 7, 8, 9, 1000, 100000, 10000000})
      for (const int64_t outer : {0, 1, 3, 5000})
        for (const bool sparse : {false, true})
          for (const int64_t size : {4, 8})
            for (const int32_t fused_terms : {0, FASTLOSS_CUDA_MAX_TERMS}) {
              context = std::to_string(classes) + " classes, " + std::to_string(positions) +
                        " positions, " + std::to_string(outer) + " images, " +
                        std::to_string(size) + " bytes";
              fastloss_overlap call = call_of(0, {outer, positions, classes, 1}, 0, 0);
              call.activation = FASTLOSS_SOFTMAX;
              call.per_outer = 1, call.sparse = sparse, call.fused_term_count = fused_terms;
              const fastloss::cuda::OverlapLayout layout(call, size);
              check(layout.shared_bytes(size) <= fastloss::cuda::OverlapLayout::kMostBytes,
                    "shared memory");
              check(layout.stride >= classes && layout.stride % (2 * layout.lanes) == layout.lanes,
                    "the stride");
              check(layout.wide || layout.classes <= fastloss::cuda::kThreads, "a class a thread");
              const int64_t held = layout.tiles * layout.positions_of_tile();
              check(!outer || (held >= positions && held < positions + layout.positions_of_tile()),
                    "tiles");
              const int64_t taken = layout.pieces * layout.tiles_of_piece;
              check(taken >= layout.tiles && taken < layout.tiles + layout.tiles_of_piece,
                    "pieces, none of them empty");
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

// The loss of an image depends neither on those beside it nor on where it stands.
void check_images_apart() {
  context = "images apart";
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

// A label that is no class makes NaN of its image, and changes no other.
void check_wrong_labels() {
  const Shape shape = {3, 50, 4, 1};
  for (const int32_t activation : {FASTLOSS_IDENTITY, FASTLOSS_SIGMOID, FASTLOSS_SOFTMAX})
    for (const double wrong : {-1.0, 4.0, 1e6})
      for (const bool with_fused_terms : {false, true}) {
        if (with_fused_terms && activation != FASTLOSS_SOFTMAX) continue;
        context = "a wrong label, activation " + std::to_string(activation);
        fastloss_overlap call = call_of(0, shape, FASTLOSS_INT32, FASTLOSS_FLOAT32);
        call.activation = activation, call.sparse = 1, call.per_outer = 1, call.per_class = 1;
        Array y_true(FASTLOSS_INT32, 150), y_pred(FASTLOSS_FLOAT32, 600);
        fill_labels(&y_true, call), y_pred.fill(false);
        call.y_true = y_true.data(), call.y_pred = y_pred.data();
        Array upstream(FASTLOSS_FLOAT32, 12), loss(FASTLOSS_FLOAT32, 12),
            good(FASTLOSS_FLOAT32, 12);
        Array gradient(FASTLOSS_FLOAT32, 600), good_gradient(FASTLOSS_FLOAT32, 600);
        Array scratch(FASTLOSS_FLOAT64, 4096);
        upstream.fill(false);
        if (with_fused_terms) {
          call.fused_terms = kOfClasses, call.fused_term_count = 3;
          y_true.put(70, wrong);
          check(!kOverlap.forward(&call, loss.data(), nullptr, gradient.data(), scratch.data()),
                "forward");
          check(loss.at(0) != loss.at(0), "the sum with fused_terms is NaN");
          for (int i = 0; i < 4; ++i)
            check(gradient.at(280 + i) != gradient.at(280 + i), "the gradient there is NaN");
          continue;
        }
        call.reduction = FASTLOSS_NONE;
        const auto run = [&](Array* losses, Array* slopes) {
          check(fastloss_cuda_overlap_scratch(&call) <= scratch.bytes(), "scratch");
          check(!kOverlap.forward(&call, losses->data(), nullptr, nullptr, scratch.data()),
                "forward");
          check(!kOverlap.backward(&call, upstream.data(), slopes->data(), scratch.data()),
                "backward");
        };
        run(&good, &good_gradient);
        y_true.put(70, wrong);
        run(&loss, &gradient);
        for (int i = 0; i < 12; ++i)
          check(i / 4 == 1 ? loss.at(i) != loss.at(i) : loss.at(i) == good.at(i), "a loss");
        for (int i = 0; i < 600; ++i)
          check(i / 200 == 1 ? gradient.at(i) != gradient.at(i)
                             : gradient.at(i) == good_gradient.at(i),
                "a slope");
      }
}

// Ignored positions may hold anything.
void check_ignored() {
  const Shape shape = {1, 40, 3, 1};
  for (const bool sparse : {false, true})
    for (const int32_t activation : {FASTLOSS_SIGMOID, FASTLOSS_SOFTMAX}) {
      context = "ignored positions, activation " + std::to_string(activation);
      fastloss_overlap call = call_of(0, shape, FASTLOSS_INT16, FASTLOSS_FLOAT32);
      call.activation = activation, call.sparse = sparse;
      call.has_ignore_class = 1, call.ignore_class = sparse ? -1 : 0;
      if (activation == FASTLOSS_SOFTMAX)
        call.fused_terms = companions_of(call), call.fused_term_count = 2;
      Array y_true(FASTLOSS_INT16, sparse ? 40 : 120), y_pred(FASTLOSS_FLOAT32, 120);
      fill_labels(&y_true, call), y_pred.fill(false);
      for (int i = 0; i < 40; i += 7) {
        if (sparse) y_true.put(i, -1);
        if (!sparse) y_true.put(3 * i, 1), y_true.put(3 * i + 1, 0), y_true.put(3 * i + 2, 0);
        y_pred.put(3 * i, NAN), y_pred.put(3 * i + 1, INFINITY);
      }
      call.y_true = y_true.data(), call.y_pred = y_pred.data();
      compare(call, shape, 0);
      // All of them.
      for (int64_t i = 0; i < y_true.count(); ++i) y_true.put(i, sparse ? -1 : 0);
      call.reduction = FASTLOSS_MEAN;
      compare(call, shape, 0);
    }
}

void check_refusals() {
  context = "refusals";
  Array x(FASTLOSS_FLOAT32, 12);
  x.fill(false);
  fastloss_overlap call = call_of(0, {1, 4, 3, 1}, FASTLOSS_FLOAT32, FASTLOSS_FLOAT32);
  call.y_true = call.y_pred = x.data();
  std::vector<fastloss_term> terms(FASTLOSS_CUDA_MAX_TERMS + 1, kOfElements[0]);
  call.fused_terms = terms.data();
  Array scratch(FASTLOSS_FLOAT64, 4096);
  float loss[4];
  const auto forward = [&](void* gradient) {
    return kOverlap.forward(&call, loss, nullptr, gradient, scratch.data());
  };
  check(!forward(nullptr), "a good call");
  call.fused_term_count = FASTLOSS_CUDA_MAX_TERMS;
  check(!forward(nullptr), "as many fused_terms as a call takes");
  ++call.fused_term_count;
  check(forward(nullptr) == -1 && fastloss_cuda_overlap_scratch(&call) == -1,
        "too many fused_terms");
  call.fused_term_count = 1;
  terms[0] = kOfRows[0];
  check(forward(nullptr) == -1, "a rowwise fused_term without a softmax");
  call.activation = FASTLOSS_SOFTMAX;
  check(!forward(nullptr), "and after one");
  terms[0] = kOfClasses[0];
  check(forward(nullptr) == -1, "a fused_term of class labels beside rows of them");
  call.fused_term_count = 0;
  call.reduction = FASTLOSS_NONE;
  check(forward(x.data()) == -1, "a gradient of each group's loss");
  call.loss = "overlap";
  check(forward(nullptr) == -1, "an unknown loss");
  check(std::strstr(fastloss_cuda_error(), "generalized_dice") != nullptr,
        "the error names others");
}

}  // namespace

int main() {
  check_layout();
  check_options();
  check_pieces();
  check_alignment();
  check_images_apart();
  check_wrong_labels();
  check_ignored();
  check_refusals();
  return report();
}
