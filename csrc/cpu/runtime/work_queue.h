// A loop shared by the thread that wants it and any number of helpers, who may come late.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

namespace fastloss {

// Each thread takes the next piece from a counter, so a slow thread holds up nobody. The owner
// waits for pieces, never for helpers: one that starts after the end finds nothing left and goes
// away.
class SharedLoop {
 public:
  SharedLoop(int64_t pieces, void (*piece)(void*, int64_t), void* state)
      : pieces_(pieces), piece_(piece), state_(state) {}

  void work() {
    int64_t done = 0;
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < pieces_; ++done)
      piece_(state_, i);
    if (done && done_.fetch_add(done, std::memory_order_acq_rel) + done == pieces_) {
      const std::lock_guard<std::mutex> lock(mutex_);
      finished_.notify_one();
    }
  }

  void work_and_wait() {
    work();
    // The last piece of another thread is a few microseconds away; sleeping takes longer.
    for (int spin = 0; spin < 4096; ++spin) {
      if (all_done()) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [this] { return all_done(); });
  }

 private:
  bool all_done() const { return done_.load(std::memory_order_acquire) == pieces_; }

  const int64_t pieces_;
  void (*const piece_)(void*, int64_t);
  void* const state_;
  std::atomic<int64_t> next_{0}, done_{0};
  std::mutex mutex_;
  std::condition_variable finished_;
};

}  // namespace fastloss
