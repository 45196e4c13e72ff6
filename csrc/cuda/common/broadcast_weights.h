// Weights that are broadcast over elements without being expanded in memory.
#pragma once

#include "cuda/common/divider.h"
#include "cuda/common/vector.h"
#include "losses/convert.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Weight i applies to `repeat` consecutive elements; after `count` weights the first one follows.
template <class T>
struct BroadcastWeights {
  const T* data = nullptr;
  Divider repeat, count;

  BroadcastWeights() = default;
  BroadcastWeights(const void* data, int64_t count, int64_t repeat) {
    if (!data || count < 1 || repeat < 1) return;
    this->data = static_cast<const T*>(data);
    this->count = Divider(count);
    this->repeat = Divider(repeat);
  }

  // Multiplies kWidth numbers by the weights of the elements from `first` on.
  template <int kWidth>
  FASTLOSS_INLINE void multiply(int64_t first, T* numbers) const {
    const int64_t run = repeat(first);
    int64_t offset = first - run * repeat.divisor();
    int64_t index = run - count(run) * count.divisor();
    if (offset + kWidth <= repeat.divisor()) {
      const T factor = data[index];
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) numbers[i] *= factor;
    } else if (repeat.divisor() == 1 && index + kWidth <= count.divisor()) {
      uint32_t words[kWordsOf<sizeof(T), kWidth>];
      load<sizeof(T), kWidth>(data, index, 0, count.divisor(), words);
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) numbers[i] *= bit_cast<T>(get<sizeof(T)>(words, i));
    } else {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        numbers[i] *= data[index];
        if (++offset < repeat.divisor()) continue;
        offset = 0;
        if (++index == count.divisor()) index = 0;
      }
    }
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
