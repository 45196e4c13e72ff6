/* CUDA's names for a host compiler, so that kernels can be tested, and run under the sanitizers,
 * without a GPU. A block is a set of fibers of one thread, each of which runs to the next barrier
 * in turn. */
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

/* Those of the fiber that is running. */
extern Index threadIdx, blockIdx, gridDim;

void __syncthreads();
void* shared_memory();

/* The order in which blocks, and the threads of a block, run; results must not depend on it. */
enum class Turns { forwards, backwards };
extern Turns turns;
/* Kernels started so far. */
extern int64_t launches;

/* What threads exchange at once. */
struct Slot {
  uint64_t words[4];
};

/* A barrier: publishes a slot, and returns that of another thread, valid until the next call. */
const Slot& exchange(const Slot& own, int thread);

template <class T>
T from_thread(const T& x, int thread) {
  static_assert(sizeof(T) <= sizeof(Slot), "lanes exchange a slot");
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

/* Shared memory that a launch may request; tests reduce it. */
extern int64_t shared_limit;
inline int64_t max_shared_bytes() { return shared_limit; }

int run(const std::function<void()>& kernel, int64_t blocks, int threads, int64_t shared_bytes);

template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), int64_t blocks, int threads, int64_t shared_bytes, void*,
           const Arguments&... arguments) {
  return run([&] { kernel(arguments...); }, blocks, threads, shared_bytes);
}

}  // namespace cuda
}  // namespace fastloss
