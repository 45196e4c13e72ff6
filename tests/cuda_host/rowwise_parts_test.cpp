// The parts of the rowwise kernels: sums of a row in any order, groups of threads, unaligned
// vectors.
#include <algorithm>
#include <cmath>
#include <vector>

#include "arrays.h"
#include "cuda/common/unaligned.h"
#include "cuda/rowwise/row_group.h"
#include "cuda/rowwise/row_pass.h"
#include "cuda/rowwise/row_sums.h"

using namespace fastloss::cuda;

namespace {

template <class T>
bool same_bits(const T& x, const T& y) {
  return !std::memcmp(&x, &y, sizeof(T));
}

// log(sum of exp), combined in random order, against float64.
template <class T>
void check_softmax_sums() {
  context = "sums of a softmax";
  const double tolerance = sizeof(T) == 8 ? 1e-14 : 1e-6;
  for (int round = 0; round < 200; ++round) {
    const int count = 1 + int(uniform() * 40);
    const double offset = round % 3 ? 0 : 1e5;
    std::vector<SoftmaxSums<T>> parts;
    double largest = -INFINITY, sum = 0;
    std::vector<double> all;
    for (int k = 0; k < count; ++k) {
      SoftmaxAccumulator<T> own;
      for (int v = 0; v < int(uniform() * 5); ++v) {
        T x[4];
        for (T& each : x) {
          each = uniform() < 0.1 ? -Format<T>::kInfinity : T(uniform() * 30 + offset);
          all.push_back(double(each));
        }
        own.add(x);
      }
      parts.push_back(own.result());
    }
    for (const double x : all) largest = std::max(largest, x);
    for (const double x : all) sum += x == -INFINITY ? 0 : std::exp(x - largest);
    while (parts.size() > 1) {
      const size_t at = size_t(uniform() * (parts.size() - 1));
      const SoftmaxSums<T> combined = SoftmaxSums<T>::combine(parts[at], parts[at + 1]);
      check(same_bits(combined, SoftmaxSums<T>::combine(parts[at + 1], parts[at])),
            "combining is commutative");
      parts[at] = combined;
      parts.erase(parts.begin() + at + 1);
    }
    check(double(parts[0].largest) == largest, "the largest");
    check(std::fabs(double(parts[0].sum) - sum) <= tolerance * sum, "the sum");
  }
  SoftmaxAccumulator<T> own;
  const T with_nan[2] = {T(1), Format<T>::kNan};
  own.add(with_nan);
  const SoftmaxSums<T> nothing = SoftmaxAccumulator<T>().result();
  const SoftmaxSums<T> combined = SoftmaxSums<T>::combine(nothing, own.result());
  check(combined.largest == 1 && combined.sum != combined.sum,
        "NaN is no maximum, and stays in the sum");
  const SoftmaxSums<T> empty = SoftmaxSums<T>::combine(nothing, nothing);
  check(empty.largest == -Format<T>::kInfinity && empty.sum == 0, "nothing and nothing");
  SoftmaxAccumulator<T> infinite;
  const T with_infinity[2] = {T(1), Format<T>::kInfinity};
  infinite.add(with_infinity);
  const SoftmaxSums<T> broken = SoftmaxSums<T>::combine(infinite.result(), infinite.result());
  check(broken.sum != broken.sum, "infinity has no softmax");
}

void check_largest() {
  context = "the first of the largest";
  for (int round = 0; round < 2000; ++round) {
    const int count = int(uniform() * 9);
    float x[8];
    for (float& each : x)
      each = uniform() < 0.1 ? NAN : uniform() < 0.1 ? -INFINITY : float(int(uniform() * 4));
    int64_t expected = 100;
    float top = -INFINITY;
    for (int i = 0; i < count; ++i)
      if (x[i] > top || (x[i] == top && expected == 100)) top = x[i], expected = i;
    Largest<float> found = {100, -INFINITY};
    found.add(x, count, [](int i) { return int64_t(i); });
    check(found.index == expected && found.value == top, "in a vector");
    const Largest<float> later = {expected + 8, top};
    check(Largest<float>::combine(found, later).index == expected &&
              Largest<float>::combine(later, found).index == expected,
          "of equals the first");
  }
}

struct Pair {
  double sum;
  int64_t smallest;
};
Pair group_input[512], group_output[512];
template <class Group>
void combine_group() {
  const Group group;
  const int thread = static_cast<int>(threadIdx.x);
  for (int round = 0; round < 2; ++round)
    group_output[thread] = group.combine(group_input[thread], [](Pair x, Pair y) {
      return Pair{x.sum + y.sum, std::min(x.smallest, y.smallest)};
    });
}

template <class Group>
void check_group() {
  context = "a group of " + std::to_string(Group::kCount);
  for (Pair& pair : group_input)
    pair = {uniform() * 1e6, static_cast<int64_t>(uniform() * 1e9) << 20};
  for (int row = 0; row < Group::kRows; ++row) {
    const Pair* const own = group_input + row * Group::kCount;
    // By halves within a warp, and then over the warps.
    std::vector<double> sums;
    int64_t smallest = INT64_MAX;
    for (int warp = 0; warp < Group::kCount / 32; ++warp) {
      std::vector<double> x;
      for (int i = 0; i < 32; ++i) {
        x.push_back(own[warp * 32 + i].sum);
        smallest = std::min(smallest, own[warp * 32 + i].smallest);
      }
      for (int half = 16; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) x[i] += x[i + half];
      sums.push_back(x[0]);
    }
    for (size_t half = sums.size() / 2; half > 0; half /= 2)
      for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
    for (const Turns order : {Turns::forwards, Turns::backwards}) {
      turns = order;
      check(!launch(combine_group<Group>, 1, Group::kBlock, 0, nullptr), "a launch");
      for (int i = 0; i < Group::kCount; ++i) {
        const Pair& found = group_output[row * Group::kCount + i];
        check(found.sum == sums[0] && found.smallest == smallest, "all threads have the same bits");
      }
    }
  }
}

void check_slices() {
  context = "slices";
  for (int shift = 0; shift <= 5; ++shift)
    for (int64_t first = 0; first < 40; ++first)
      for (int count = 0; count <= 8; ++count) {
        const ClassSlice slice = {first, count, shift};
        std::vector<int> expected(400, -1);
        for (int i = 0; i < count; ++i) expected[size_t(slice.at(i))] = i;
        for (int64_t c = 0; c < 400; ++c)
          check(slice.index_of(c) == expected[size_t(c)], "the position of a class in a slice");
      }
}

template <int kSize>
void check_loads() {
  constexpr int kWidth = 16 / kSize;
  context = "vectors of elements of " + std::to_string(kSize);
  const int total = 6 * kWidth;
  for (int offset = 0; offset < kWidth; ++offset) {
    Array memory(kSize == 2   ? FASTLOSS_FLOAT16
                 : kSize == 4 ? FASTLOSS_FLOAT32
                              : FASTLOSS_FLOAT64,
                 total, offset);
    char* const begin = static_cast<char*>(memory.data());
    for (int64_t i = 0; i < memory.bytes(); ++i) begin[i] = char(i * 37 + 11);
    for (int first = 0; first < total; ++first)
      for (int count = 0; count <= std::min(kWidth, total - first); ++count) {
        uint32_t words[4];
        load_unaligned<kSize>(begin + first * kSize, count, begin, begin + memory.bytes(), words);
        check(!std::memcmp(words, begin + first * kSize, size_t(count * kSize)), "a load");
      }
  }
}

char* store_begin;
int store_count;
const char* store_from;
template <int kSize>
void store_all() {
  constexpr int kWidth = 16 / kSize;
  const int first = static_cast<int>(threadIdx.x) * kWidth;
  const auto rest = [](int from) { return std::max(0, std::min(16 / kSize, store_count - from)); };
  uint32_t words[4] = {};
  std::memcpy(words, store_from + first * kSize, size_t(rest(first) * kSize));
  store_unaligned<kSize>(words, rest(first), rest(first + kWidth), store_begin + first * kSize);
}

template <int kSize>
void check_stores() {
  constexpr int kWidth = 16 / kSize;
  context = "stores of elements of " + std::to_string(kSize);
  std::vector<char> from(64 * 16);
  for (size_t i = 0; i < from.size(); ++i) from[i] = char(i * 29 + 3);
  for (int offset = 0; offset < kWidth; ++offset)
    for (int count : {0, 1, kWidth - 1, kWidth, kWidth + 1, 31 * kWidth, 32 * kWidth - 1,
                      32 * kWidth, 32 * kWidth + 1, 33 * kWidth, 63 * kWidth + 1, 64 * kWidth}) {
      // The sanitizer sees accesses outside of the array, as far as alignment allows.
      std::vector<char> space(size_t(16 + (offset + count) * kSize + 16), 0x55);
      char* const base = space.data() + (16 - reinterpret_cast<uintptr_t>(space.data()) % 16) % 16;
      store_begin = base + offset * kSize, store_count = count, store_from = from.data();
      check(!launch(store_all<kSize>, 1, 64, 0, nullptr), "a launch");
      check(!std::memcmp(store_begin, from.data(), size_t(count * kSize)), "what was stored");
      bool beside = true;
      for (char* at = space.data(); at < space.data() + space.size(); ++at)
        if (at < store_begin || at >= store_begin + count * kSize) beside &= *at == 0x55;
      check(beside, "nothing beside it");
    }
}

}  // namespace

int main() {
  check_softmax_sums<float>(), check_softmax_sums<double>();
  check_largest();
  check_group<RowGroup<32, 256>>(), check_group<RowGroup<256, 256>>();
  check_group<RowGroup<512, 512>>();
  check_slices();
  check_loads<2>(), check_loads<4>(), check_loads<8>();
  check_stores<2>(), check_stores<4>(), check_stores<8>();
  std::printf("%d passed, %d failed\n", checks - failures, failures);
  return failures != 0;
}
