// Weights that repeat.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fastloss {

// One number for each run of `repeat` elements, starting again after `count` numbers.
template <class T>
struct BroadcastWeights {
  const T* data = nullptr;
  int64_t count = 0, repeat = 1;

  T at(int64_t element) const { return data[element / repeat % count]; }

  // put(i, weight) for each element begin + i of `size`.
  template <class Put>
  void visit(int64_t begin, int64_t size, const Put& put) const {
    for (int64_t i = 0; i < size;) {
      const int64_t element = begin + i;
      const int64_t index = element / repeat % count;
      if (repeat == 1) {
        const int64_t run = std::min(size - i, count - index);
        for (int64_t k = 0; k < run; ++k) put(i + k, data[index + k]);
        i += run;
      } else {
        const int64_t run = std::min(size - i, repeat - element % repeat);
        const T value = data[index];
        for (int64_t k = 0; k < run; ++k) put(i + k, value);
        i += run;
      }
    }
  }
};

// The weights of a call's losses, each of which has `elements` elements.
template <class T, class Call>
BroadcastWeights<T> weights_of(const Call& call, int64_t elements = 1) {
  if (!call.weight || !call.weight_count) return {};
  return {static_cast<const T*>(call.weight), call.weight_count, call.weight_repeat * elements};
}

}  // namespace fastloss
