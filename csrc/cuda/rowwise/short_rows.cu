// Rows of few classes, side by side in memory: a block takes a tile of them into shared memory and
// back with whole vectors, wherever in one a row begins; a row itself stays in the registers of a
// few neighbouring lanes.
#include "cuda/common/reduce.h"
#include "cuda/rowwise/row_loss.h"
#include "cuda/rowwise/rows.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

// Classes of one thread.
constexpr int kOfThread = 8;
static_assert(kTileClasses == kOfThread * kWarp, "a row has a warp at most");

int lanes_of(int64_t classes) {
  int lanes = 1;
  while (lanes * kOfThread < classes) lanes *= 2;
  return lanes;
}

// Bytes of shared memory for `elements` that may begin within a vector.
FASTLOSS_INLINE int64_t padded(int64_t elements, int64_t size) {
  return (elements * size + 31) / 16 * 16;
}

// Elements [begin, end) of an array to or from shared memory, where they lie as far behind a
// multiple of 16 bytes as in the array.
template <int kSize>
struct Transfer {
  using Bits = typename RawOf<kSize>::Bits;
  char* const memory;
  char* const shared;
  const int64_t bytes;

  __device__ __forceinline__ Transfer(const void* array, int64_t begin, int64_t end, void* at)
      : memory(const_cast<char*>(static_cast<const char*>(array)) + begin * kSize),
        shared(static_cast<char*>(at) + reinterpret_cast<uintptr_t>(memory) % 16),
        bytes((end - begin) * kSize) {}

  __device__ __forceinline__ Bits* element(int64_t i) const {
    return reinterpret_cast<Bits*>(shared) + i;
  }

  // Calls whole(at) for 16 bytes, each at a multiple of 16, and one(at) for the elements around.
  template <class Whole, class One>
  __device__ __forceinline__ void each(const Whole& whole, const One& one) const {
    // Counted from the multiple of 16 bytes at or before the first.
    const int64_t lead = static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory) % 16);
    for (int64_t at = int64_t(threadIdx.x) * 16 - lead; at < bytes; at += kThreads * 16) {
      if (at >= 0 && at + 16 <= bytes) {
        whole(at);
      } else {
        for (int64_t k = at; k < at + 16; k += kSize)
          if (k >= 0 && k < bytes) one(k);
      }
    }
  }

  static __device__ __forceinline__ void copy_one(const char* from, char* to) {
    *reinterpret_cast<Bits*>(to) = *reinterpret_cast<const Bits*>(from);
  }

  __device__ __forceinline__ void load() const {
    each(
        [&](int64_t at) {
          uint32_t words[4];
          load_whole<16>(memory + at, words);
          keep_whole(words, shared + at);
        },
        [&](int64_t at) { copy_one(memory + at, shared + at); });
  }
  __device__ __forceinline__ void store() const {
    each(
        [&](int64_t at) {
          uint32_t words[4];
          load_whole<16>(shared + at, words);
          store_whole<16>(words, memory + at);
        },
        [&](int64_t at) { copy_one(shared + at, memory + at); });
  }
};

// Labels [begin, end) of an array to T in shared memory.
template <class T>
__device__ __forceinline__ void load_labels(const RowWalk<T>& walk, int64_t begin, int64_t end,
                                            T* to) {
  using Layout = Tile<4, 1>;
  for (int64_t at = begin; at < end; at += Layout::kElements) {
    RawVectors<1, Layout::kWidth> raw;
    const int64_t first[1] = {at + Layout::first(static_cast<int>(threadIdx.x), 0)};
    T y[Layout::kWidth];
    raw.load_any(walk.y_true_size, walk.y_true, first, begin, end);
    raw.widen_any(walk.y_true_dtype, y);
    FASTLOSS_UNROLL
    for (int i = 0; i < Layout::kWidth; ++i)
      if (first[0] + i < end) to[first[0] + i - begin] = y[i];
  }
}

template <int kSize>
struct RowInTile {
  using T = typename Predictions<kSize>::T;
  static constexpr int kWidth = kOfThread;

  const RowWalk<T>& walk;
  const RowTask<T>& task;
  const Place place;
  T x[kWidth], y[kWidth];
  typename RawOf<kSize>::Bits* slopes;  // of the row's first class

  // Of the row's first class: bits of predictions, labels where they are rows.
  __device__ __forceinline__ RowInTile(const RowWalk<T>& walk, const RowTask<T>& task,
                                       const Place& place, const typename RawOf<kSize>::Bits* bits,
                                       const T* labels)
      : walk(walk), task(task), place(place), slopes(nullptr) {
    RawVectors<1, kWidth> raw;
    FASTLOSS_UNROLL
    for (uint32_t& word : raw.words[0]) word = 0;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      if (i < place.count) put<kSize>(raw.words[0], i, bits[place.at(i)]);
      y[i] = labels && i < place.count ? labels[place.at(i)] : T(0);
    }
    Predictions<kSize>::widen(raw, walk.y_pred_dtype, x);
  }

  // Before the tile goes back, as the gradient may take its place.
  __device__ __forceinline__ T at(int64_t c) const {
    RawVectors<1, 1> raw;
    T found[1] = {T(0)};
    const int64_t first[1] = {task.row * walk.classes + c};
    if (c >= walk.classes) return T(0);
    raw.template load_of_size<kSize>(walk.y_pred, first, first[0], first[0] + 1);
    Predictions<kSize>::widen(raw, walk.y_pred_dtype, found);
    return found[0];
  }

  template <bool kLabels, class Visit>
  __device__ __forceinline__ void each(const Wants& wants, const Visit& visit) {
    T some_x[kWidth], some_y[kWidth];
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) some_x[i] = x[i], some_y[i] = y[i];
    if (wants.ready && wants.x) walk.ready_predictions(place, some_x);
    if (kLabels && wants.ready && wants.y) walk.ready_labels(task, place, some_y);
    visit(place, some_x, some_y);
  }

  __device__ __forceinline__ void store(const Place& place, const T (&numbers)[kWidth]) const {
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i < place.count)
        slopes[place.at(i)] = Predictions<kSize>::narrow(numbers[i], walk.y_pred_dtype);
  }
};

template <int kSize, bool kPicks>
__global__ void __launch_bounds__(kThreads, kSize == 8 ? 1 : 2)
    rows_in_tiles(const __grid_constant__ RowWalk<typename Predictions<kSize>::T> walk,
                  const int lanes, const int shift) {
  using T = typename Predictions<kSize>::T;
  const int64_t classes = walk.classes;
  const int rows = kThreads / lanes, lane = static_cast<int>(threadIdx.x) % lanes;
  const int of_block = static_cast<int>(threadIdx.x) / lanes;
  char* const shared = static_cast<char*>(shared_memory());
  T* const labels = reinterpret_cast<T*>(shared + padded(rows * classes, kSize));
  const T scale = walk.gradient ? walk.scale() : T(0);
  const int64_t end = walk.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t base = walk.pieces.begin(blockIdx.x); base < end; base += rows) {
    const int64_t next = base + rows < end ? base + rows : end;
    const Transfer<kSize> in(walk.y_pred, base * classes, next * classes, shared);
    in.load();
    if (!walk.sparse) load_labels(walk, base * classes, next * classes, labels);
    __syncthreads();
    const bool live = base + of_block < next;
    const RowTask<T> task = walk.task(live ? base + of_block : base, scale);
    const int64_t mine = classes - lane;
    const int count = live && mine > 0 ? static_cast<int>((mine + lanes - 1) >> shift) : 0;
    RowInTile<kSize> row(walk, task, {lane, count, shift}, in.element(of_block * classes),
                         walk.sparse ? nullptr : labels + of_block * classes);
    // All have their row: the gradient takes its place.
    __syncthreads();
    const Transfer<kSize> out(walk.gradient, base * classes, next * classes, shared);
    row.slopes = out.element(of_block * classes);
    const SomeLanes group = {lanes};
    RowLoss<kPicks, T, RowInTile<kSize>, SomeLanes> loss(walk, task, row, group);
    const RowResult<T> result = loss.compute();
    sum += put_result(walk, task, result, live && lane == 0);
    __syncthreads();
    if (walk.gradient) {
      out.store();
      __syncthreads();
    }
  }
  if (!walk.partials) return;
  sum = block_sum(sum);
  if (threadIdx.x == 0) walk.partials[blockIdx.x] = sum;
}

template <int kSize, bool kPicks>
int launch_tiles(const RowWalk<typename Predictions<kSize>::T>& walk, void* stream) {
  using T = typename Predictions<kSize>::T;
  const int lanes = lanes_of(walk.classes);
  int shift = 0;
  while (1 << shift < lanes) ++shift;
  const int64_t elements = kThreads / lanes * walk.classes;
  const int64_t bytes =
      padded(elements, kSize) + (walk.sparse ? 0 : padded(elements, int64_t(sizeof(T))));
  return launch(rows_in_tiles<kSize, kPicks>, walk.pieces.count, kThreads, bytes, stream, walk,
                lanes, shift);
}

}  // namespace

int64_t rows_of_tile(int64_t classes) { return kThreads / lanes_of(classes); }

template <int kSize>
int launch_rows_in_tiles(const RowWalk<typename Predictions<kSize>::T>& walk, bool picks,
                         void* stream) {
  return picks ? launch_tiles<kSize, true>(walk, stream) : launch_tiles<kSize, false>(walk, stream);
}
template int launch_rows_in_tiles<2>(const RowWalk<float>&, bool, void*);
template int launch_rows_in_tiles<4>(const RowWalk<float>&, bool, void*);
template int launch_rows_in_tiles<8>(const RowWalk<double>&, bool, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
