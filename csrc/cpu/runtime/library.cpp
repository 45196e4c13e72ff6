#include <cstdarg>
#include <cstdio>

#include "api/error.h"
#include "api/fastloss.h"
#include "cpu/kernels/isa.h"

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

using fastloss::fail;

const char* fastloss_error(void) { return fastloss::error; }
const char* fastloss_version(void) { return FASTLOSS_VERSION; }
const char* fastloss_isa(void) { return fastloss::isa().name; }
const char* fastloss_isas(void) { return fastloss::isa_names(); }

int fastloss_set_isa(const char* isa) {
  if (fastloss::set_isa(isa)) return 0;
  return fail("instruction set '%s' is unknown or not supported by this CPU, which runs: %s", isa,
              fastloss::isa_names());
}

int fastloss_scalar(const char* function, const char* isa, int32_t dtype, const void* x,
                    const void* y, void* out, int64_t count) {
  const fastloss::Isa* found = fastloss::find_isa(isa);
  if (!found)
    return fail("instruction set '%s' is unknown or not supported by this CPU, which runs: %s", isa,
                fastloss::isa_names());
  if (dtype != FASTLOSS_FLOAT32 && dtype != FASTLOSS_FLOAT64)
    return fail("dtype code %d; expected float32 or float64", dtype);
  if (!found->scalar_probe(function, dtype == FASTLOSS_FLOAT64, x, y, out, count))
    return fail("scalar function '%s' is unknown", function);
  return 0;
}
