#include "tensorflow/threads.h"

#include <atomic>
#include <functional>
#include <memory>

#include "cpu/runtime/work_queue.h"

// No C function gives TensorFlow's thread pool, but TF_OpKernelContext is OpKernelContext, and this
// member is exported by every release from 2.16 to 2.21. Weak, for the release that drops it.
extern "C" const void* fastloss_eigen_device(const TF_OpKernelContext*) __asm__(
    "_ZNK10tensorflow15OpKernelContext12eigen_deviceIN5Eigen16ThreadPoolDeviceEEERKT_v")
    __attribute__((weak));

namespace fastloss {

// The virtual table of Eigen::ThreadPoolInterface. Not in an anonymous namespace: the compiler
// would see that nothing derives from it and call these very functions.
struct EigenThreadPool {
  virtual void Schedule(std::function<void()> task) = 0;
  virtual void ScheduleWithHint(std::function<void()> task, int start, int end) = 0;
  virtual void Cancel() = 0;
  virtual int NumThreads() const = 0;
  virtual int CurrentThreadId() const = 0;

 protected:
  ~EigenThreadPool() = default;
};

namespace {

std::atomic<bool> release_is_tested{false};

void run(void* context, int64_t pieces, void (*piece)(void*, int64_t), void* state) {
  EigenThreadPool* const pool = static_cast<EigenThreadPool*>(context);
  const auto loop = std::make_shared<SharedLoop>(pieces, piece, state);
  const int64_t threads = pool->NumThreads();
  const int64_t helpers = (pieces < threads ? pieces : threads) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool->Schedule([loop] { loop->work(); });
  loop->work_and_wait();
}

}  // namespace

fastloss_parallel_for tensorflow_parallel_for(TF_OpKernelContext* kernel, void** context) {
  if (!fastloss_tensorflow_threads()) return nullptr;
  // Eigen::ThreadPoolDevice begins with its ThreadPoolInterface*.
  *context = *static_cast<void* const*>(fastloss_eigen_device(kernel));
  return *context ? run : nullptr;
}

}  // namespace fastloss

void fastloss_use_tensorflow_threads(int release_is_tested) {
  fastloss::release_is_tested = release_is_tested;
}

int fastloss_tensorflow_threads(void) {
  return fastloss_eigen_device && fastloss::release_is_tested;
}
