#include <cstdarg>
#include <cstdio>

#include "api/error.h"
#include "api/fastloss_cuda.h"

namespace fastloss {
namespace {
thread_local char error[512];
}

int fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(error, sizeof(error), format, arguments);
  va_end(arguments);
  return -1;
}

}  // namespace fastloss

const char* fastloss_cuda_error(void) { return fastloss::error; }
const char* fastloss_cuda_version(void) { return FASTLOSS_VERSION; }
