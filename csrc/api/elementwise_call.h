// The elementwise losses by name, and what a call of them must hold.
#pragma once

#include "api/call.h"
#include "api/fastloss.h"
#include "losses/elementwise.h"

namespace fastloss {

struct ElementwiseLoss : LossEntry {
  bool mean;              // a row's values are averaged, else added
  bool needs_all_labels;  // labels that are all 0 or 1 mean -1 or 1
};

#define FASTLOSS_ROWS_mean true
#define FASTLOSS_ROWS_sum false
#define FASTLOSS_NEEDS_own_label false
#define FASTLOSS_NEEDS_all_labels true
#define FASTLOSS_ENTRY(NAME, ROWS, NEEDS, ...) \
  {{#NAME, #__VA_ARGS__}, FASTLOSS_ROWS_##ROWS, FASTLOSS_NEEDS_##NEEDS},
constexpr ElementwiseLoss kElementwiseLosses[] = {FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_ENTRY)};
#undef FASTLOSS_ENTRY
static_assert(parameters_fit(kElementwiseLosses), "kMaxParameters is too small");

// 0, or -1 with the reason.
int check_elementwise(const fastloss_term& term);
int check_elementwise_forward(const fastloss_elementwise& call, const void* term_values,
                              const void* gradient);
int check_elementwise_backward(const fastloss_elementwise& call, const void* gradient);

// Whether a loss of the call asks what all labels are.
bool needs_all_labels(const fastloss_elementwise& call);

}  // namespace fastloss
