// Working memory of a piece.
#pragma once

#include <vector>

#include "cpu/runtime/pieces.h"

namespace fastloss {

// Buffers of a thread, kept from piece to piece.
class Scratch {
 public:
  explicit Scratch(int64_t bytes) {
    if (int64_t(lines().size() * sizeof(Line)) < bytes) lines().resize(bytes / sizeof(Line) + 1);
  }
  template <class T>
  T* take(int64_t count) {
    T* const taken = reinterpret_cast<T*>(lines().data() + used_);
    used_ += ceil_div(count * int64_t(sizeof(T)), sizeof(Line));
    return taken;
  }

 private:
  struct alignas(64) Line {
    Line() {}  // leaves the bytes as they are
    char bytes[64];
  };
  static std::vector<Line>& lines() {
    static thread_local std::vector<Line> lines;
    return lines;
  }
  int64_t used_ = 0;
};

}  // namespace fastloss
