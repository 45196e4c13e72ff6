// Contiguous rows of few classes. A block transfers a tile of them to shared memory and back by
// whole vectors, wherever in a vector a row begins; a row itself stays in the registers of a few
// neighbouring lanes.
#include "cuda/common/reduce.h"
#include "cuda/rowwise/row_loss.h"
#include "cuda/rowwise/rows.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

// Classes that a thread has of a row.
constexpr int kOfThread = 8;
static_assert(kShortRowClasses == kOfThread * kWarp, "a row has a warp at most");

int lanes_of(int64_t classes) {
  int lanes = 1;
  while (lanes * kOfThread < classes) lanes *= 2;
  return lanes;
}

// Bytes of shared memory for elements that may begin within a vector.
FASTLOSS_INLINE int64_t padded(int64_t elements, int64_t size) {
  return (elements * size + 31) / 16 * 16;
}

// Transfers elements [begin, end) of an array to or from shared memory, where they have the same
// alignment as in the array.
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

  // Calls whole(at) for aligned 16 bytes, and one(at) for the elements before and after these.
  template <class Whole, class One>
  __device__ __forceinline__ void each(const Whole& whole, const One& one) const {
    // Bytes between the first element and the aligned 16 bytes that contain it.
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
          store_shared(words, shared + at);
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

// Converts labels [begin, end) of an array into shared memory.
template <class T>
__device__ __forceinline__ void load_labels(const RowPass<T>& pass, int64_t begin, int64_t end,
                                            T* to) {
  using Layout = Tile<4, 1>;
  for (int64_t at = begin; at < end; at += Layout::kElements) {
    RawVectors<1, Layout::kWidth> raw;
    const int64_t first[1] = {at + Layout::first(static_cast<int>(threadIdx.x), 0)};
    T y[Layout::kWidth];
    raw.load_any(pass.y_true_size, pass.y_true, first, begin, end);
    raw.widen_any(pass.y_true_dtype, y);
    FASTLOSS_UNROLL
    for (int i = 0; i < Layout::kWidth; ++i)
      if (first[0] + i < end) to[first[0] + i - begin] = y[i];
  }
}

template <int kSize>
struct ShortRow {
  using T = typename Predictions<kSize>::T;
  static constexpr int kWidth = kOfThread;

  const RowPass<T>& pass;
  const RowTask<T>& task;
  const ClassSlice slice;
  T x[kWidth], y[kWidth];
  typename RawOf<kSize>::Bits* slopes;  // where store() puts the row's gradient

  // `bits` and `labels` point to the row's first class; `labels` is null for class labels.
  __device__ __forceinline__ ShortRow(const RowPass<T>& pass, const RowTask<T>& task,
                                      const ClassSlice& slice,
                                      const typename RawOf<kSize>::Bits* bits, const T* labels)
      : pass(pass), task(task), slice(slice), slopes(nullptr) {
    RawVectors<1, kWidth> raw;
    FASTLOSS_UNROLL
    for (uint32_t& word : raw.words[0]) word = 0;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      if (i < slice.count) put<kSize>(raw.words[0], i, bits[slice.at(i)]);
      y[i] = labels && i < slice.count ? labels[slice.at(i)] : T(0);
    }
    Predictions<kSize>::widen(raw, pass.y_pred_dtype, x);
  }

  // Reads global memory: valid until the tile is stored, as the gradient may be in place.
  __device__ __forceinline__ T at(int64_t c) const {
    RawVectors<1, 1> raw;
    T found[1] = {T(0)};
    const int64_t first[1] = {task.row * pass.classes + c};
    if (c >= pass.classes) return T(0);
    raw.template load_of_size<kSize>(pass.y_pred, first, first[0], first[0] + 1);
    Predictions<kSize>::widen(raw, pass.y_pred_dtype, found);
    return found[0];
  }

  template <bool kLabels, class Visit>
  __device__ __forceinline__ void for_each(const Reads& reads, const Visit& visit) {
    T prepared_x[kWidth], prepared_y[kWidth];
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i) prepared_x[i] = x[i], prepared_y[i] = y[i];
    if (reads.prepared && reads.x) pass.prepare_predictions(slice, prepared_x);
    if (kLabels && reads.prepared && reads.y) pass.prepare_labels(task, slice, prepared_y);
    visit(slice, prepared_x, prepared_y);
  }

  __device__ __forceinline__ void store(const ClassSlice& slice, const T (&numbers)[kWidth]) const {
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i < slice.count)
        slopes[slice.at(i)] = Predictions<kSize>::narrow(numbers[i], pass.y_pred_dtype);
  }
};

template <int kSize, bool kAtLabel>
__global__ void __launch_bounds__(kThreads, kSize == 8 ? 1 : 2)
    short_rows(const __grid_constant__ RowPass<typename Predictions<kSize>::T> pass,
               const int lanes, const int shift) {
  using T = typename Predictions<kSize>::T;
  const int64_t classes = pass.classes;
  const int rows = kThreads / lanes, lane = static_cast<int>(threadIdx.x) % lanes;
  const int row_of_block = static_cast<int>(threadIdx.x) / lanes;
  char* const shared = static_cast<char*>(shared_memory());
  T* const labels = reinterpret_cast<T*>(shared + padded(rows * classes, kSize));
  const T scale = pass.gradient ? pass.scale() : T(0);
  const int64_t end = pass.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t base = pass.pieces.begin(blockIdx.x); base < end; base += rows) {
    const int64_t next = base + rows < end ? base + rows : end;
    const Transfer<kSize> in(pass.y_pred, base * classes, next * classes, shared);
    in.load();
    if (!pass.sparse) load_labels(pass, base * classes, next * classes, labels);
    __syncthreads();
    const bool exists = base + row_of_block < next;
    const RowTask<T> task = pass.task(exists ? base + row_of_block : base, scale);
    const int64_t remaining = classes - lane;
    const int count =
        exists && remaining > 0 ? static_cast<int>((remaining + lanes - 1) >> shift) : 0;
    ShortRow<kSize> row(pass, task, {lane, count, shift}, in.element(row_of_block * classes),
                        pass.sparse ? nullptr : labels + row_of_block * classes);
    // All threads have loaded their row, so that the gradient may take its place in shared memory.
    __syncthreads();
    const Transfer<kSize> out(pass.gradient, base * classes, next * classes, shared);
    row.slopes = out.element(row_of_block * classes);
    const LaneGroup group = {lanes};
    RowLoss<kAtLabel, T, ShortRow<kSize>, LaneGroup> loss(pass, task, row, group);
    const RowResult<T> result = loss.compute();
    sum += write_result(pass, task, result, exists && lane == 0);
    __syncthreads();
    if (pass.gradient) {
      out.store();
      __syncthreads();
    }
  }
  if (!pass.partials) return;
  sum = block_sum(sum);
  if (threadIdx.x == 0) pass.partials[blockIdx.x] = sum;
}

template <int kSize, bool kAtLabel>
int launch_kernel(const RowPass<typename Predictions<kSize>::T>& pass, void* stream) {
  using T = typename Predictions<kSize>::T;
  const int lanes = lanes_of(pass.classes);
  int shift = 0;
  while (1 << shift < lanes) ++shift;
  const int64_t elements = kThreads / lanes * pass.classes;
  const int64_t bytes =
      padded(elements, kSize) + (pass.sparse ? 0 : padded(elements, int64_t(sizeof(T))));
  return launch(short_rows<kSize, kAtLabel>, pass.pieces.count, kThreads, bytes, stream, pass,
                lanes, shift);
}

}  // namespace

int64_t rows_of_tile(int64_t classes) { return kThreads / lanes_of(classes); }

template <int kSize>
int launch_short_rows(const RowPass<typename Predictions<kSize>::T>& pass, bool at_label,
                      void* stream) {
  return at_label ? launch_kernel<kSize, true>(pass, stream)
                  : launch_kernel<kSize, false>(pass, stream);
}
template int launch_short_rows<2>(const RowPass<float>&, bool, void*);
template int launch_short_rows<4>(const RowPass<float>&, bool, void*);
template int launch_short_rows<8>(const RowPass<double>&, bool, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
