// Working memory of a piece.
#pragma once

#include <cassert>
#include <vector>

#include "api/call.h"

namespace fastloss {

// Buffers that a thread reuses from piece to piece. Whoever needs some takes the thread's memory
// for as long as it lives; a second one meanwhile finds none and has memory of its own.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) : lines_(std::move(of_thread())) {
    const size_t wanted = size_t(ceil_div(bytes, sizeof(Line)));
    if (lines_.size() < wanted) lines_.resize(wanted);
  }
  ~Scratch() {
    if (lines_.size() > of_thread().size()) of_thread() = std::move(lines_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Each buffer begins on a cache line, which the bytes asked for make room for.
  template <class T>
  T* take(int64_t count) {
    T* const taken = reinterpret_cast<T*>(lines_.data() + used_);
    used_ += size_t(ceil_div(count * int64_t(sizeof(T)), sizeof(Line)));
    assert(used_ <= lines_.size());
    return taken;
  }

 private:
  struct alignas(64) Line {
    Line() {}  // leaves the bytes as they are
    char bytes[64];
  };
  static std::vector<Line>& of_thread() {
    static thread_local std::vector<Line> lines;
    return lines;
  }
  std::vector<Line> lines_;
  size_t used_ = 0;
};

}  // namespace fastloss
