#include "cpu/runtime/parallel.h"

#include <unistd.h>

#include <deque>
#include <thread>

#include "cpu/runtime/work_queue.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace fastloss {
namespace {

constexpr unsigned kStandardFloatState = 0x1f80;  // all exceptions masked, subnormals kept

// One queue of loops to help with. The threads start with the first loop and live as long as the
// process: joining them in a static destructor hangs in a process that has forked.
class Pool {
 public:
  int threads() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return wanted();
  }

  void set_threads(int threads) {
    const std::lock_guard<std::mutex> lock(mutex_);
    threads_ = threads;
  }

  void run(const std::shared_ptr<SharedLoop>& loop, int64_t pieces) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const int64_t helpers = pieces < wanted() ? pieces - 1 : wanted() - 1;
      if (owner_ != getpid()) {
        // A forked child inherits the queue but none of the threads.
        owner_ = getpid();
        started_ = 0;
        queue_.clear();
      }
      for (; started_ < helpers; ++started_) std::thread([this] { serve(); }).detach();
      queue_.insert(queue_.end(), helpers, loop);
    }
    wake_.notify_all();
    loop->work_and_wait();
  }

 private:
  int wanted() const {
    if (threads_ > 0) return threads_;
    const int found = int(std::thread::hardware_concurrency());
    return found > 0 ? found : 1;
  }

  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return !queue_.empty(); });
      const std::shared_ptr<SharedLoop> loop = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      loop->work();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<SharedLoop>> queue_;
  int threads_ = 0;
  int64_t started_ = 0;
  pid_t owner_ = 0;
};

Pool& pool() {
  static Pool* const pool = new Pool;
  return *pool;
}

}  // namespace

#if defined(__SSE__)
StandardFloatState::StandardFloatState() : saved_(_mm_getcsr()) {
  if (saved_ != kStandardFloatState) _mm_setcsr(kStandardFloatState);
}
StandardFloatState::~StandardFloatState() { _mm_setcsr(saved_); }
#else
StandardFloatState::StandardFloatState() : saved_(kStandardFloatState) {}
StandardFloatState::~StandardFloatState() = default;
#endif

void own_parallel_for(void*, int64_t pieces, void (*piece)(void*, int64_t), void* state) {
  pool().run(std::make_shared<SharedLoop>(pieces, piece, state), pieces);
}

}  // namespace fastloss

int32_t fastloss_threads(void) { return fastloss::pool().threads(); }
void fastloss_set_threads(int32_t threads) { fastloss::pool().set_threads(threads); }
