// The losses between boxes by name, and what a call of them must hold.
#pragma once

#include "api/call.h"
#include "api/fastloss.h"
#include "losses/boxes.h"

namespace fastloss {

#define FASTLOSS_ENTRY(NAME, ...) {#NAME, #__VA_ARGS__},
constexpr LossEntry kBoxLosses[] = {FASTLOSS_BOX_LOSSES(FASTLOSS_ENTRY)};
#undef FASTLOSS_ENTRY
static_assert(parameters_fit(kBoxLosses), "kMaxParameters is too small");

constexpr int kBoxSize = 4;

// 0, or -1 with the reason.
int check_boxes_forward(const fastloss_boxes& call, const void* gradient);
int check_boxes_backward(const fastloss_boxes& call);

}  // namespace fastloss
