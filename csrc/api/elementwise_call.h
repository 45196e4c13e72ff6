// The elementwise losses by name, and what a call of them must hold.
#pragma once

#include "api/call.h"
#include "api/fastloss.h"
#include "losses/elementwise.h"

namespace fastloss {

struct ElementwiseLoss : LossEntry {
  bool mean;    // a row's values are averaged, else added
  bool binary;  // labels that are all 0 or 1 mean -1 or 1
};

#define FASTLOSS_ROWS_mean true
#define FASTLOSS_ROWS_sum false
#define FASTLOSS_LABELS_any false
#define FASTLOSS_LABELS_binary true
#define FASTLOSS_ENTRY(NAME, ROWS, LABELS, ...) \
  {{#NAME, #__VA_ARGS__}, FASTLOSS_ROWS_##ROWS, FASTLOSS_LABELS_##LABELS},
constexpr ElementwiseLoss kElementwiseLosses[] = {FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_ENTRY)};
#undef FASTLOSS_ENTRY

// 0, or -1 with the reason.
int check_elementwise(const fastloss_term& term);
int check_elementwise_forward(const fastloss_elementwise& call, const void* term_values,
                              const void* gradient);
int check_elementwise_backward(const fastloss_elementwise& call, const void* gradient);

// Whether a loss asks what its labels are.
bool any_binary(const fastloss_elementwise& call);

}  // namespace fastloss
