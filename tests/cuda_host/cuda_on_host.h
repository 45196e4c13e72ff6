/* CUDA's names for a host compiler: a block is a set of fibers of one thread, of which each runs to
 * the next barrier in turn. So kernels are tested, and looked at by the sanitizers, without a GPU.
 */
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
/* Blocks run one after another. */
#define __shared__ static

namespace fastloss {
namespace cuda {

struct Index {
  unsigned x = 0;
};

/* What a fiber sees of itself. */
extern Index threadIdx, blockIdx, gridDim;

void __syncthreads();
void* shared_memory();

/* In which order blocks, and the threads of a block, take their turns; it must not matter. */
enum class Turns { forwards, backwards };
extern Turns turns;
/* Kernels started so far. */
extern int64_t launches;

/* What threads hand over at once. */
struct Slot {
  uint64_t words[4];
};

/* Hands a slot over and returns that of another thread, until the next call; a barrier. */
const Slot& exchange(const Slot& own, int thread);

template <class T>
T from_thread(const T& x, int thread) {
  static_assert(sizeof(T) <= sizeof(Slot), "a lane hands over a slot");
  Slot own = {};
  __builtin_memcpy(&own, &x, sizeof(x));
  T other;
  __builtin_memcpy(&other, &exchange(own, thread), sizeof(other));
  return other;
}

template <class T>
T from_lane_above(const T& x, int distance, int width) {
  const int thread = static_cast<int>(threadIdx.x);
  return from_thread(x, thread % width + distance < width ? thread + distance : thread);
}

template <class T>
T from_lane_across(const T& x, int mask) {
  return from_thread(x, static_cast<int>(threadIdx.x) ^ mask);
}

/* What a block may ask for; tests make it scarce. */
extern int64_t room;
inline int64_t shared_room() { return room; }

int run(const std::function<void()>& kernel, int64_t blocks, int threads, int64_t shared_bytes);

template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared_bytes, void*,
           const Arguments&... arguments) {
  return run([&] { kernel(arguments...); }, blocks, threads, shared_bytes);
}

}  // namespace cuda
}  // namespace fastloss
