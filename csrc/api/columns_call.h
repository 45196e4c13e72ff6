// What a call of losses of ranges of columns must hold.
#pragma once

#include "api/fastloss.h"

namespace fastloss {

// 0, or -1 with the reason.
int check_columns(const fastloss_columns& call);

}  // namespace fastloss
