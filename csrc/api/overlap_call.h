// The overlap losses by name, and what a call of them must hold.
#pragma once

#include "api/call.h"
#include "api/fastloss.h"
#include "api/rowwise_call.h"
#include "losses/overlap.h"

namespace fastloss {

struct OverlapLoss : LossEntry {
  bool together;  // of all classes of a group
};

#define FASTLOSS_GROUPS_alone false
#define FASTLOSS_GROUPS_together true
#define FASTLOSS_ENTRY(NAME, CLASSES, ...) {{#NAME, #__VA_ARGS__}, FASTLOSS_GROUPS_##CLASSES},
constexpr OverlapLoss kOverlapLosses[] = {FASTLOSS_OVERLAP_LOSSES(FASTLOSS_ENTRY)};
#undef FASTLOSS_ENTRY
#undef FASTLOSS_GROUPS_alone
#undef FASTLOSS_GROUPS_together
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
