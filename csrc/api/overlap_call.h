// The overlap losses by name, and what a call of them must hold.
#pragma once

#include "api/call.h"
#include "api/fastloss.h"
#include "api/rowwise_call.h"
#include "losses/overlap.h"

namespace fastloss {

// One of the two is null. `together` sees all classes of a group and fills in their factors.
struct OverlapLoss : LossEntry {
  GroupLoss (*alone)(const double* parameters, OverlapSums sums);
  GroupLoss (*together)(const double* parameters, const OverlapSums* sums,
                        const double* class_weight, int64_t classes, double* class_factors);
  bool counts_positions;
};

template <class Functor>
GroupLoss overlap_loss_alone(const double* parameters, OverlapSums sums) {
  return Functor(parameters)(sums);
}

template <class Functor>
GroupLoss overlap_loss_together(const double* parameters, const OverlapSums* sums,
                                const double* class_weight, int64_t classes,
                                double* class_factors) {
  return Functor(parameters)(sums, class_weight, classes, class_factors);
}

#define FASTLOSS_CLASSES_alone(NAME) overlap_loss_alone<NAME>, nullptr
#define FASTLOSS_CLASSES_together(NAME) nullptr, overlap_loss_together<NAME>
#define FASTLOSS_ENTRY(NAME, CLASSES, ...) \
  {{#NAME, #__VA_ARGS__}, FASTLOSS_CLASSES_##CLASSES(NAME), CountsPositions<NAME>::value},
constexpr OverlapLoss kOverlapLosses[] = {FASTLOSS_OVERLAP_LOSSES(FASTLOSS_ENTRY)};
#undef FASTLOSS_ENTRY
#undef FASTLOSS_CLASSES_alone
#undef FASTLOSS_CLASSES_together
static_assert(parameters_fit(kOverlapLosses), "kMaxParameters is too small");

// Whether the classes of a position are looked at together.
inline bool by_position(const fastloss_overlap& call) {
  return call.activation == FASTLOSS_SOFTMAX || call.sparse || call.has_ignore_class;
}

// Whether each class has sums of its own.
inline bool by_class(const fastloss_overlap& call) {
  return call.per_class || call.class_weight || call.skip_background ||
         find_loss(kOverlapLosses, call.loss)->together;
}

// 0, or -1 with the reason.
int check_overlap_forward(const fastloss_overlap& call, const void* gradient);
int check_overlap_backward(const fastloss_overlap& call);

}  // namespace fastloss
