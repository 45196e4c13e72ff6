#pragma once

namespace fastloss {

// Keeps a sentence for fastloss_error() and returns -1.
int fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace fastloss
