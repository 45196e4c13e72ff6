// Threads, and the floating-point state that every piece runs under.
#pragma once

#include <cstdint>

#include "api/fastloss.h"

namespace fastloss {

// Runs piece(i) for i in [0, pieces) through the caller's parallel-for or, where it is null, the
// library's own threads. What a piece computes must not depend on who runs it.
template <class Piece>
void parallel(fastloss_parallel_for parallel_for, void* context, int64_t pieces,
              const Piece& piece);

// TensorFlow's threads flush subnormals and Python's do not: without one state for all, the bits of
// a result would depend on the thread that computed it.
class StandardFloatState {
 public:
  StandardFloatState();
  ~StandardFloatState();
  StandardFloatState(const StandardFloatState&) = delete;
  StandardFloatState& operator=(const StandardFloatState&) = delete;

 private:
  unsigned saved_;
};

void own_parallel_for(void* context, int64_t pieces, void (*piece)(void*, int64_t), void* state);

template <class Piece>
void parallel(fastloss_parallel_for parallel_for, void* context, int64_t pieces,
              const Piece& piece) {
  const auto call = [](void* state, int64_t index) {
    const StandardFloatState standard;
    (*static_cast<const Piece*>(state))(index);
  };
  void* state = const_cast<void*>(static_cast<const void*>(&piece));
  if (pieces == 1) {
    call(state, 0);
    return;
  }
  (parallel_for ? parallel_for : own_parallel_for)(context, pieces, call, state);
}

}  // namespace fastloss
