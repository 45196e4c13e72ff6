// The functions of scalar.h over arrays, so that tests can measure them on each instruction set.
#include "losses/scalar.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

using detail::exp_flushed;
using Loop = void (*)(const void* x, const void* y, void* out, long long n);

// Function wraps one of the functions in a type, as a template cannot be an argument.
template <class T, class Function>
void loop(const void* x, const void* y, void* out, long long n) {
  const T* __restrict a = static_cast<const T*>(x);
  const T* __restrict b = static_cast<const T*>(y);
  T* __restrict result = static_cast<T*>(out);
  for (long long i = 0; i < n; ++i) result[i] = Function::apply(a, b, i);
}

#define FASTLOSS_UNARY(name)                                            \
  struct Probe_##name {                                                 \
    template <class T>                                                  \
    static FASTLOSS_INLINE T apply(const T* x, const T*, long long i) { \
      return name(x[i]);                                                \
    }                                                                   \
  };
#define FASTLOSS_BINARY(name)                                             \
  struct Probe_##name {                                                   \
    template <class T>                                                    \
    static FASTLOSS_INLINE T apply(const T* x, const T* y, long long i) { \
      return name(x[i], y[i]);                                            \
    }                                                                     \
  };
FASTLOSS_UNARY(exp)
FASTLOSS_UNARY(exp_flushed)
FASTLOSS_UNARY(expm1)
FASTLOSS_UNARY(log)
FASTLOSS_UNARY(log1p)
FASTLOSS_UNARY(tanh)
FASTLOSS_UNARY(sigmoid)
FASTLOSS_UNARY(softplus)
FASTLOSS_UNARY(log_sigmoid)
FASTLOSS_UNARY(abs)
FASTLOSS_BINARY(pow)
FASTLOSS_BINARY(atan2)
FASTLOSS_BINARY(min)
FASTLOSS_BINARY(max)

struct Entry {
  const char* name;
  Loop single_loop;
  Loop double_loop;
};

#define FASTLOSS_ENTRY(name) {#name, loop<float, Probe_##name>, loop<double, Probe_##name>}
constexpr Entry kEntries[] = {
    FASTLOSS_ENTRY(exp),     FASTLOSS_ENTRY(exp_flushed), FASTLOSS_ENTRY(expm1),
    FASTLOSS_ENTRY(log),     FASTLOSS_ENTRY(log1p),       FASTLOSS_ENTRY(tanh),
    FASTLOSS_ENTRY(sigmoid), FASTLOSS_ENTRY(softplus),    FASTLOSS_ENTRY(log_sigmoid),
    FASTLOSS_ENTRY(abs),     FASTLOSS_ENTRY(pow),         FASTLOSS_ENTRY(min),
    FASTLOSS_ENTRY(max),     FASTLOSS_ENTRY(atan2),
};

}  // namespace

bool scalar_probe(const char* function, bool is_double, const void* x, const void* y, void* out,
                  long long n) {
  for (const Entry& entry : kEntries) {
    if (__builtin_strcmp(entry.name, function) != 0) continue;
    (is_double ? entry.double_loop : entry.single_loop)(x, y, out, n);
    return true;
  }
  return false;
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
