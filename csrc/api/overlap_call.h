// The overlap losses by name, and what a call of them must hold.
#pragma once

#include <type_traits>

#include "api/call.h"
#include "api/fastloss.h"
#include "losses/overlap.h"
#include "losses/rowwise.h"

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

namespace FASTLOSS_ISA {

template <class Loss, class = void>
struct has_at_label : std::false_type {};
template <class Loss>
struct has_at_label<Loss, decltype(void(&Loss::at_label))> : std::true_type {};

// Whether a rowwise loss can be a fused_term: what it wants to know of a row, a softmax has found.
template <class Loss, bool kSparse>
constexpr bool kCanFuse =
    Loss::kPrediction == Normalization::softmax && Loss::kLabel == Normalization::none &&
    (!kSparse || has_at_label<Loss>::value);

}  // namespace FASTLOSS_ISA

// Whether the classes of a position are looked at together.
inline bool by_position(const fastloss_overlap& call) {
  return call.activation == FASTLOSS_SOFTMAX || call.sparse || call.has_ignore_class;
}

// Whether sums are kept for each class.
inline bool by_class(const fastloss_overlap& call) {
  return call.per_class || call.class_weight || call.skip_background ||
         find_loss(kOverlapLosses, call.loss)->together;
}

// 0, or -1 with the reason.
int check_overlap_forward(const fastloss_overlap& call, const void* gradient);
int check_overlap_backward(const fastloss_overlap& call);

}  // namespace fastloss
