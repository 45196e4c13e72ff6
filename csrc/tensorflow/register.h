#pragma once

namespace fastloss {

void register_elementwise();

}  // namespace fastloss
