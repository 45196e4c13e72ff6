#include "cuda_on_host.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "api/error.h"

namespace fastloss {
namespace cuda {

Index threadIdx, blockIdx, gridDim;
Turns turns = Turns::forwards;
int64_t launches = 0;
int64_t shared_limit = 225 << 10;

namespace {

constexpr int kMaxThreads = 1024;
constexpr size_t kStack = 128 << 10;

struct Fiber {
  ucontext_t context;
  char* stack;
  jmp_buf resume;
  bool begun, done;
  int exchanges;
};

Fiber fibers[kMaxThreads];
int current = 0, threads = 0;
const std::function<void()>* body;
Slot slots[2][kMaxThreads];
std::vector<double> shared;
std::mutex running;

/* swapcontext makes two system calls each time, so once they have begun, fibers are resumed by
 * longjmp; but the address sanitizer can only follow swapcontext. */
#ifdef __SANITIZE_ADDRESS__
ucontext_t scheduler;
void resume(Fiber* fiber) { swapcontext(&scheduler, &fiber->context); }
void suspend(Fiber* fiber) { swapcontext(&fiber->context, &scheduler); }
#else
jmp_buf scheduler_resume;
void resume(Fiber* fiber) {
  if (_setjmp(scheduler_resume)) return;
  if (fiber->begun) _longjmp(fiber->resume, 1);
  fiber->begun = true;
  setcontext(&fiber->context);
}
void suspend(Fiber* fiber) {
  if (!_setjmp(fiber->resume)) _longjmp(scheduler_resume, 1);
}
#endif

/* A fiber is reused for the next block. */
void start() {
  for (;;) {
    (*body)();
    fibers[current].done = true;
    suspend(&fibers[current]);
  }
}

void prepare(Fiber* fiber) {
  fiber->done = false;
  if (fiber->stack) return;
  fiber->stack = static_cast<char*>(std::malloc(kStack));
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack;
  fiber->context.uc_stack.ss_size = kStack;
  makecontext(&fiber->context, start, 0);
}

/* A barrier that some threads do not reach hangs a GPU. */
void require_together(int done) {
  if (done == 0 || done == threads) return;
  std::fprintf(stderr, "%d of %d threads ended while the others waited at a barrier\n", done,
               threads);
  std::abort();
}

void run_block() {
  /* Kernels must not rely on what an earlier block left. */
  std::fill(shared.begin(), shared.end(), std::nan(""));
  for (int i = 0; i < threads; ++i) prepare(&fibers[i]);
  int done = 0;
  while (done < threads) {
    done = 0;
    for (int i = 0; i < threads; ++i) {
      current = turns == Turns::forwards ? i : threads - 1 - i;
      threadIdx.x = static_cast<unsigned>(current);
      resume(&fibers[current]);
      done += fibers[current].done;
    }
    require_together(done);
  }
}

}  // namespace

void __syncthreads() { suspend(&fibers[current]); }

void* shared_memory() { return shared.data(); }

const Slot& exchange(const Slot& own, int thread) {
  /* Alternating, so that no thread overwrites what another has yet to read. */
  Slot* const slot = slots[fibers[current].exchanges++ % 2];
  slot[current] = own;
  __syncthreads();
  return slot[thread];
}

int run(const std::function<void()>& kernel, int64_t blocks, int block_threads,
        int64_t shared_bytes) {
  if (blocks < 1 || blocks > INT32_MAX || block_threads > kMaxThreads ||
      shared_bytes > shared_limit)
    return fail("a GPU has no room for %lld blocks of %d threads with %lld bytes",
                static_cast<long long>(blocks), block_threads,
                static_cast<long long>(shared_bytes));
  const std::lock_guard<std::mutex> one_kernel_at_a_time(running);
  ++launches;
  body = &kernel;
  threads = block_threads;
  gridDim.x = static_cast<unsigned>(blocks);
  shared.assign(static_cast<size_t>(shared_bytes + 7) / sizeof(double), 0);
  for (int64_t i = 0; i < blocks; ++i) {
    blockIdx.x = static_cast<unsigned>(turns == Turns::forwards ? i : blocks - 1 - i);
    run_block();
  }
  return 0;
}

}  // namespace cuda
}  // namespace fastloss
