#include "cpu/kernels/isa.h"

#include <atomic>
#include <cstring>
#include <string>

namespace fastloss {
namespace baseline {
extern const Isa kIsa;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Isa kIsa;
}
namespace avx512 {
extern const Isa kIsa;
}
#endif

namespace {

// Best last.
struct Candidate {
  const Isa* isa;
  bool runs;
};

const Candidate* candidates(int* count) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  static const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  static const bool has_avx512 =
      has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  static const Candidate all[] = {
      {&baseline::kIsa, true}, {&avx2::kIsa, has_avx2}, {&avx512::kIsa, has_avx512}};
#else
  static const Candidate all[] = {{&baseline::kIsa, true}};
#endif
  *count = int(sizeof(all) / sizeof(*all));
  return all;
}

std::atomic<const Isa*>& current() {
  static std::atomic<const Isa*> isa{find_isa("")};
  return isa;
}

}  // namespace

const Isa* find_isa(const char* name) {
  int count;
  const Candidate* all = candidates(&count);
  for (int i = count - 1; i >= 0; --i)
    if (all[i].runs && (!*name || !std::strcmp(name, all[i].isa->name))) return all[i].isa;
  return nullptr;
}

const char* isa_names() {
  // Never freed: who has asked may read it until the process ends.
  static const std::string* const names = [] {
    int count;
    const Candidate* all = candidates(&count);
    std::string* const text = new std::string;
    for (int i = 0; i < count; ++i)
      if (all[i].runs) *text += (text->empty() ? "" : " ") + std::string(all[i].isa->name);
    return text;
  }();
  return names->c_str();
}

const Isa& isa() { return *current().load(std::memory_order_relaxed); }

bool set_isa(const char* name) {
  const Isa* found = find_isa(name);
  if (found) current().store(found);
  return found;
}

}  // namespace fastloss
