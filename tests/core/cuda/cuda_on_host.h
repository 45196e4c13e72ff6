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

/* Hands 8 bytes over and takes those of another thread; a barrier. */
uint64_t exchange(uint64_t bits, int thread);

template <class T>
T from_lane_above(T x, int distance, int width) {
  static_assert(sizeof(T) <= 8, "a lane hands over 8 bytes");
  const int thread = static_cast<int>(threadIdx.x);
  const int other = thread % width + distance < width ? thread + distance : thread;
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &x, sizeof(x));
  bits = exchange(bits, other);
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}

template <class T>
T from_lane_across(T x, int mask) {
  static_assert(sizeof(T) <= 8, "a lane hands over 8 bytes");
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &x, sizeof(x));
  bits = exchange(bits, static_cast<int>(threadIdx.x) ^ mask);
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
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
