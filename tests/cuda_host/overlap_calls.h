// What the tests of the overlap losses of the CUDA sources share: calls of every loss.
#pragma once

#include "compare.h"

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

// Terms that can be fused with a call, or null.
inline const fastloss_term* fusable_terms_of(const fastloss_overlap& call) {
  if (call.activation == FASTLOSS_SOFTMAX) return call.sparse ? kOfClasses : kOfRows;
  return call.sparse || call.has_ignore_class ? nullptr : kOfElements;
}

inline fastloss_overlap call_of(size_t loss, const Shape& shape, int32_t y_true, int32_t y_pred) {
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

inline void fill_labels(Array* labels, const fastloss_overlap& call) {
  for (int64_t i = 0; i < labels->count(); ++i)
    labels->put(
        i, call.sparse ? double(int(uniform() * double(call.classes))) : double(uniform() < 0.3));
}

inline int64_t groups_of(const fastloss_overlap& call) {
  const int64_t classes = call.classes - (call.skip_background && call.classes > 0);
  return (call.per_outer ? call.outer : 1) * (call.per_class ? classes : 1);
}

inline void compare(const fastloss_overlap& call, const Shape& shape, int offset) {
  const int64_t losses = call.reduction == FASTLOSS_NONE ? groups_of(call) : 1;
  Comparison<fastloss_overlap>(kOverlap, call,
                               {losses, 1 + call.fused_term_count, shape.elements()}, offset)
      .run();
}

}  // namespace
