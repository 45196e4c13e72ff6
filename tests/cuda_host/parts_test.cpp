// The parts of the CUDA drivers that count and add: each element once, each sum in one order.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cuda/common/broadcast_weights.h"
#include "cuda/common/divider.h"
#include "cuda/common/layout.h"
#include "cuda/common/reduce.h"
#include "cuda/common/vector.h"

using namespace fastloss::cuda;

namespace {

int failures = 0, checks = 0;

void check(bool holds, const char* what, int64_t x = 0, int64_t y = 0) {
  ++checks;
  if (holds) return;
  ++failures;
  std::printf("FAILED: %s (%lld, %lld)\n", what, static_cast<long long>(x),
              static_cast<long long>(y));
}

uint64_t state = 1;
uint64_t random_bits() {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state ^ state >> 29;
}

void check_divider() {
  const int64_t largest = INT64_MAX;
  for (int round = 0; round < 20000; ++round) {
    const int64_t d = 1 + static_cast<int64_t>(random_bits() >> (1 + random_bits() % 63)) % largest;
    const Divider divider(d);
    for (const int64_t n : {int64_t(0), int64_t(1), d - 1, d, largest / d * d - 1, largest / d * d,
                            largest, static_cast<int64_t>(random_bits() >> 1)})
      check(divider(n) == n / d, "n / d", n, d);
  }
  for (int shift = 0; shift < 63; ++shift)
    for (const int64_t d :
         {(int64_t(1) << shift) - 1, int64_t(1) << shift, (int64_t(1) << shift) + 1}) {
      if (d < 1) continue;
      const Divider divider(d);
      for (const int64_t n : {d - 1, d, largest}) check(divider(n) == n / d, "n / d", n, d);
    }
}

template <int kBytes, int kVectors>
void check_tile() {
  using Layout = Tile<kBytes, kVectors>;
  std::vector<int> seen(Layout::kElements);
  for (int thread = 0; thread < kThreads; ++thread)
    for (int vector = 0; vector < kVectors; ++vector)
      for (int i = 0; i < Layout::kWidth; ++i) ++seen[Layout::first(thread, vector) + i];
  for (const int times : seen) check(times == 1, "a tile holds each element once", kBytes, times);
}

void check_pieces() {
  for (const int64_t tile : {256, 512, 1024, 2048})
    for (const int64_t elements :
         {int64_t(0), int64_t(1), tile - 1, tile, tile + 1, 7 * tile + 3, kMaxPieces * tile,
          kMaxPieces * tile + 1, 3 * kMaxPieces * tile - 1, (int64_t(1) << 31) + 1,
          (int64_t(1) << 40) + 12345}) {
      const Pieces pieces(elements, tile);
      check(pieces.count <= kMaxPieces, "few enough pieces", elements, tile);
      int64_t at = 0;
      for (int64_t piece = 0; piece < pieces.count; ++piece) {
        check(pieces.begin(piece) == at && pieces.end(piece) > at, "pieces lie side by side",
              elements, piece);
        check(at % tile == 0, "a piece begins with a tile", elements, piece);
        at = pieces.end(piece);
      }
      check(at == elements, "pieces hold all elements", elements, tile);
    }
}

void check_rows() {
  for (const int64_t tile : {512, 1024})
    for (const int64_t columns :
         {1, 2, 3, 5, 31, 64, 255, 256, 507, 510, 1000, 1021, 1022, 4097, 16336, 16337, 70001})
      for (const int64_t row_count : {1, 2, 7, 300}) {
        const int width = tile == 512 ? 2 : 4;
        const Rows rows(row_count, columns, tile, width);
        int64_t at = 0;
        for (int64_t work = 0; work < rows.work_items; ++work) {
          int64_t begin, end;
          if (rows.rows_of_tile) {
            begin = rows.first_row(work) * columns, end = rows.last_row(work) * columns;
            // Even where it begins within a vector.
            check(end - begin + width - 1 <= tile, "short rows fit in a tile", columns, tile);
            check(rows.lanes * rows.rows_of_tile <= kThreads || rows.lanes == 1, "lanes fit",
                  columns, tile);
          } else {
            begin = rows.chunk_begin(work), end = rows.chunk_end(work);
            check(begin / columns == (end - 1) / columns, "a chunk is of one row", columns, work);
          }
          check(begin == at && end > at, "work lies side by side", columns, work);
          at = end;
        }
        check(at == row_count * columns, "work holds all rows", columns, row_count);
      }
}

// A sum that tells how it was made.
struct Story {
  std::string text;
  Story& operator+=(const Story& other) {
    text = "(" + text + "+" + other.text + ")";
    return *this;
  }
};

void check_tree() {
  const Story stories[8] = {{"0"}, {"1"}, {"2"}, {"3"}, {"4"}, {"5"}, {"6"}, {"7"}};
  check(tree_sum(stories).text == "(((0+4)+(2+6))+((1+5)+(3+7)))", "the order of a tree");
}

double block_input[kThreads], block_output[kThreads];
void sum_of_block() { block_output[threadIdx.x] = block_sum(block_input[threadIdx.x]); }
float lanes_output[kThreads];
void sum_of_lanes(const int width) {
  lanes_output[threadIdx.x] = lanes_sum(float(block_input[threadIdx.x]), width);
}

void check_block_sum() {
  for (double& x : block_input) x = double(int64_t(random_bits())) * 0x1p-40;
  double of_warps[kThreads / kWarp];
  for (int warp = 0; warp < kThreads / kWarp; ++warp) {
    double lanes[kWarp];
    std::memcpy(lanes, block_input + warp * kWarp, sizeof(lanes));
    of_warps[warp] = tree_sum(lanes);
  }
  const double expected = tree_sum(of_warps);
  for (const Turns order : {Turns::forwards, Turns::backwards}) {
    turns = order;
    check(!launch(sum_of_block, 1, kThreads, 0, nullptr), "a launch");
    for (const double sum : block_output)
      check(sum == expected, "every thread has the block's sum, by the tree");
    for (int width = 1; width <= kWarp; width *= 2) {
      check(!launch(sum_of_lanes, 1, kThreads, 0, nullptr, width), "a launch");
      for (int first = 0; first < kThreads; first += width) {
        std::vector<float> x(block_input + first, block_input + first + width);
        for (int half = width / 2; half > 0; half /= 2)
          for (int i = 0; i < half; ++i) x[i] += x[i + half];
        check(lanes_output[first] == x[0], "lanes add up by the tree", width, first);
      }
    }
  }
}

// Every alignment and every end: what lies in the range arrives, and nothing else is touched.
template <int kSize, int kWidth>
void check_vectors() {
  using Bits = typename RawOf<kSize>::Bits;
  constexpr int kCount = 3 * kWidth;
  for (int offset = 0; offset < 16 / kSize + 1; ++offset)
    for (int end = 0; end <= kCount; ++end)
      for (int begin = 0; begin <= end; ++begin) {
        if (offset + end == begin) continue;
        // The range alone is memory, for the sanitizer; the array begins `begin` elements before.
        std::vector<Bits> memory(offset + end - begin);
        for (Bits& x : memory) x = static_cast<Bits>(random_bits());
        const uintptr_t base =
            reinterpret_cast<uintptr_t>(memory.data()) + (offset - begin) * sizeof(Bits);
        void* const array = reinterpret_cast<void*>(base);
        std::vector<Bits> copy = memory;
        for (int first = 0; first < kCount; first += kWidth) {
          uint32_t words[kWordsOf<kSize, kWidth>];
          load<kSize, kWidth>(array, first, begin, end, words);
          for (int i = 0; i < kWidth; ++i) {
            const bool inside = first + i >= begin && first + i < end;
            const Bits expected = inside ? memory[offset + first + i - begin] : Bits(0);
            check(get<kSize>(words, i) == expected, "a load", kSize, offset);
          }
          if constexpr (kSize * kWidth == 16 || kSize * kWidth == 8) {
            for (uint32_t& word : words) word = ~word;
            store<kSize, kWidth>(words, first, begin, end, array);
          }
        }
        if constexpr (kSize * kWidth == 16 || kSize * kWidth == 8)
          for (size_t i = 0; i < memory.size(); ++i) {
            const bool inside = int(i) >= offset;
            check(memory[i] == (inside ? Bits(~copy[i]) : copy[i]), "a store", kSize, offset);
          }
      }
}

template <class T>
void check_broadcast_weights() {
  constexpr int kWidth = 16 / sizeof(T);
  for (const int64_t count : {1, 2, 3, 5, 64})
    for (const int64_t repeat : {1, 2, 3, 7, 100}) {
      std::vector<T> numbers(count);
      for (T& x : numbers) x = T(1 + random_bits() % 100);
      const BroadcastWeights<T> weights(numbers.data(), count, repeat);
      for (int64_t first = 0; first < 3 * count * repeat; ++first) {
        T out[kWidth];
        for (T& x : out) x = T(2);
        weights.template multiply<kWidth>(first, out);
        for (int i = 0; i < kWidth; ++i)
          check(out[i] == 2 * numbers[(first + i) / repeat % count], "a weight", count, repeat);
      }
    }
}

}  // namespace

int main() {
  check_divider();
  check_tile<2, 1>(), check_tile<4, 2>(), check_tile<8, 2>(), check_tile<4, 1>(),
      check_tile<8, 1>();
  check_pieces();
  check_rows();
  check_tree();
  check_block_sum();
  check_vectors<1, 2>(), check_vectors<1, 4>(), check_vectors<1, 8>();
  check_vectors<2, 2>(), check_vectors<2, 4>(), check_vectors<2, 8>();
  check_vectors<4, 2>(), check_vectors<4, 4>(), check_vectors<4, 8>();
  check_vectors<8, 2>(), check_vectors<8, 4>(), check_vectors<8, 8>();
  check_broadcast_weights<float>(), check_broadcast_weights<double>();
  std::printf("%d passed, %d failed\n", checks - failures, failures);
  return failures != 0;
}
