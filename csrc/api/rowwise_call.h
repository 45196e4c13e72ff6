// The rowwise losses by name, and what a call of them must hold.
#pragma once

#include <type_traits>

#include "api/call.h"
#include "api/fastloss.h"
#include "losses/rowwise.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// The functor for rows of labels: of a sparse loss its Dense, void for one without.
template <class Loss, class = void>
struct dense_of {
  using type = Loss;
};
template <class Loss>
struct dense_of<Loss, std::void_t<typename Loss::Dense>> {
  using type = typename Loss::Dense;
};

template <class Loss, class = void>
struct has_at_label : std::false_type {};
template <class Loss>
struct has_at_label<Loss, decltype(void(&Loss::at_label))> : std::true_type {};

// Whether a rowwise loss can be a fused_term of an overlap loss: what it wants to know of a row, a
// softmax has found.
template <class Loss, bool kSparse>
constexpr bool kCanFuse =
    Loss::kPrediction == Normalization::softmax && Loss::kLabel == Normalization::none &&
    (!kSparse || has_at_label<Loss>::value);

}  // namespace FASTLOSS_ISA

struct RowwiseLossEntry : LossEntry {
  bool sparse;          // a label is a class
  bool has_dense_form;  // labels can be rows, or be made rows
  bool can_fuse;
};

#define FASTLOSS_LABELS_dense false
#define FASTLOSS_LABELS_sparse true
#define FASTLOSS_ENTRY(NAME, LABELS, ...)                                         \
  {{#NAME, #__VA_ARGS__},                                                         \
   FASTLOSS_LABELS_##LABELS,                                                      \
   !std::is_void<FASTLOSS_ISA::dense_of<FASTLOSS_ISA::NAME<float>>::type>::value, \
   FASTLOSS_ISA::kCanFuse<FASTLOSS_ISA::NAME<float>, FASTLOSS_LABELS_##LABELS>},
constexpr RowwiseLossEntry kRowwiseLosses[] = {FASTLOSS_ROWWISE_LOSSES(FASTLOSS_ENTRY)};
#undef FASTLOSS_ENTRY
#undef FASTLOSS_LABELS_dense
#undef FASTLOSS_LABELS_sparse
static_assert(parameters_fit(kRowwiseLosses), "kMaxParameters is too small");

// 0, or -1 with the reason.
int check_rowwise(const fastloss_rowwise& call);
int check_rowwise_forward(const fastloss_rowwise& call, const void* gradient);

}  // namespace fastloss
