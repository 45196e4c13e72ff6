#include <sys/mman.h>

#include <mutex>
#include <vector>

#include "api/fastloss.h"

namespace fastloss {
namespace {

constexpr int64_t kHugePage = int64_t(2) << 20;
// Enough for the gradients of a step with several outputs.
constexpr size_t kIdleBuffers = 8;

struct Buffer {
  void* data;
  int64_t bytes;
};

struct Idle {
  std::mutex mutex;
  std::vector<Buffer> buffers;  // oldest first
};

Idle& idle() {
  static Idle* const idle = new Idle;
  return *idle;
}

int64_t round_up(int64_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }

void* map_aligned(int64_t bytes) {
  void* raw =
      mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(raw);
  char* const data =
      reinterpret_cast<char*>(round_up(static_cast<int64_t>(reinterpret_cast<intptr_t>(begin))));
  if (data > begin) munmap(begin, data - begin);
  if (kHugePage > data - begin) munmap(data + bytes, kHugePage - (data - begin));
  madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

}  // namespace
}  // namespace fastloss

void* fastloss_allocate(int64_t bytes) {
  using namespace fastloss;
  const int64_t size = round_up(bytes > 0 ? bytes : 1);
  {
    Idle& cache = idle();
    const std::lock_guard<std::mutex> lock(cache.mutex);
    for (auto buffer = cache.buffers.rbegin(); buffer != cache.buffers.rend(); ++buffer) {
      if (buffer->bytes != size) continue;
      void* const data = buffer->data;
      cache.buffers.erase(std::next(buffer).base());
      return data;
    }
  }
  return map_aligned(size);
}

void fastloss_release(void* data, int64_t bytes) {
  using namespace fastloss;
  if (!data) return;
  Buffer evicted = {data, round_up(bytes > 0 ? bytes : 1)};
  // The system may take the pages when it needs them; until then the next use finds them warm.
  if (madvise(data, evicted.bytes, MADV_FREE) == 0) {
    Idle& cache = idle();
    const std::lock_guard<std::mutex> lock(cache.mutex);
    cache.buffers.push_back(evicted);
    if (cache.buffers.size() <= kIdleBuffers) return;
    evicted = cache.buffers.front();
    cache.buffers.erase(cache.buffers.begin());
  }
  munmap(evicted.data, evicted.bytes);
}

int64_t fastloss_trim(void) {
  using namespace fastloss;
  Idle& cache = idle();
  const std::lock_guard<std::mutex> lock(cache.mutex);
  int64_t bytes = 0;
  for (const Buffer& buffer : cache.buffers) {
    munmap(buffer.data, buffer.bytes);
    bytes += buffer.bytes;
  }
  cache.buffers.clear();
  return bytes;
}
