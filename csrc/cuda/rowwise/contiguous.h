// Rows of more classes than registers hold, side by side in memory. A row has a warp or a block.
// Each thread keeps the vectors it has read in shared memory, as raw bits, as far as there is room:
// there a row is read from memory once. What is beyond is read again, through the L2 cache.
#pragma once

#include <algorithm>

#include "cuda/common/reduce.h"
#include "cuda/common/shifted.h"
#include "cuda/rowwise/row_loss.h"
#include "cuda/rowwise/rows.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// How much of a row is kept.
struct Kept {
  int vectors;      // of each row, a multiple of 4
  int label_words;  // of a part of a vector of labels; 0 where none are read
};

template <int kSize, bool kPicks, class Group>
struct RowAlong {
  using T = typename Predictions<kSize>::T;
  static constexpr int kWidth = 16 / kSize;
  // Labels of any size want up to four times the registers: they come by parts.
  static constexpr int kPart = kWidth < 4 ? kWidth : 4, kParts = kWidth / kPart;
  // Vectors that are under way before the first is looked at.
  static constexpr int kFlight = !kPicks ? 1 : Group::kBlock > kThreads ? 4 : 2;

  const RowWalk<T>& walk;
  const RowTask<T>& task;
  const int64_t classes;
  const int vectors, kept, label_words;
  const bool live;
  bool has_x = false, has_y = false;

  __device__ __forceinline__ RowAlong(const RowWalk<T>& walk, const RowTask<T>& task,
                                      const Kept& keeps, bool live)
      : walk(walk),
        task(task),
        classes(walk.classes),
        vectors(static_cast<int>((walk.classes + kWidth - 1) / kWidth)),
        kept(keeps.vectors),
        label_words(keeps.label_words),
        live(live) {}

  // Where vectors are kept: predictions, and the words of labels.
  __device__ __forceinline__ char* kept_x(int vector) const {
    const int of_row = kept * (16 + 4 * kParts * label_words);
    return static_cast<char*>(shared_memory()) + (Group::row() * of_row + vector * 16);
  }
  __device__ __forceinline__ uint32_t* kept_y() const {
    return reinterpret_cast<uint32_t*>(kept_x(kept));
  }

  __device__ __forceinline__ Place place_of(int vector) const {
    const int64_t first = int64_t(vector) * kWidth, rest = live ? classes - first : 0;
    return {first, rest >= kWidth ? kWidth : rest > 0 ? static_cast<int>(rest) : 0, 0};
  }

  __device__ __forceinline__ const char* x_at(int64_t c) const {
    return static_cast<const char*>(walk.y_pred) + (task.row * classes + c) * kSize;
  }

  __device__ __forceinline__ T at(int64_t c) const {
    if (!live || c >= classes) return T(0);
    RawVectors<1, 1> raw;
    const int64_t first[1] = {0};
    raw.template load_of_size<kSize>(x_at(c), first, 0, 1);
    T x[1];
    Predictions<kSize>::widen(raw, walk.y_pred_dtype, x);
    return x[0];
  }

  __device__ __forceinline__ void fetch_x(int vector, uint32_t* words) const {
    const Place place = place_of(vector);
    if (has_x && vector < kept) return load_whole<16>(kept_x(vector), words);
    const char* const begin = static_cast<const char*>(walk.y_pred);
    load_shifted<kSize>(x_at(place.first), place.count, begin, begin + walk.rows * classes * kSize,
                        words);
  }

  // A part of a vector of labels, made T. Where kept, neighbouring threads have neighbouring words.
  __device__ __forceinline__ void read_y(int vector, int part, T* y) const {
    RawVectors<1, kPart> raw;
    auto& words = raw.words[0];
    const bool keeps = vector < kept;
    uint32_t* const place = keeps ? kept_y() + part * label_words * kept + vector : nullptr;
    if (has_y && keeps) {
      FASTLOSS_UNROLL
      for (int i = 0; i < RawVectors<1, kPart>::kWords; ++i)
        if (i < label_words) words[i] = place[i * kept];
    } else {
      const char* const row =
          static_cast<const char*>(walk.y_true) + task.row * classes * walk.y_true_size;
      const int64_t first[1] = {int64_t(vector) * kWidth + part * kPart};
      raw.load_any(walk.y_true_size, row, first, 0, live ? classes : 0);
      if (keeps) {
        FASTLOSS_UNROLL
        for (int i = 0; i < RawVectors<1, kPart>::kWords; ++i)
          if (i < label_words) place[i * kept] = words[i];
      }
    }
    raw.widen_any(walk.y_true_dtype, y);
  }

  template <bool kLabels, class Visit>
  __device__ __forceinline__ void each(const Wants& wants, const Visit& visit) {
    const bool wants_y = kLabels && wants.y && !walk.sparse;
    for (int begin = 0; begin < vectors; begin += kFlight * Group::kCount) {
      uint32_t raw_x[kFlight][4];
      FASTLOSS_UNROLL
      for (int f = 0; f < kFlight; ++f)
        if (wants.x) fetch_x(begin + f * Group::kCount + Group::lane(), raw_x[f]);
      FASTLOSS_UNROLL
      for (int f = 0; f < kFlight; ++f) {
        if (begin + f * Group::kCount >= vectors) break;
        const int vector = begin + f * Group::kCount + Group::lane();
        const Place place = place_of(vector);
        T x[kWidth], y[kWidth];
        FASTLOSS_UNROLL
        for (int i = 0; i < kWidth; ++i) x[i] = y[i] = T(0);
        if (wants.x) {
          if (!has_x && vector < kept) keep_whole(raw_x[f], kept_x(vector));
          widen_x(raw_x[f], x);
          if (wants.ready) walk.ready_predictions(place, x);
        }
        if (kLabels && wants.y) {
          if (wants_y) {
            FASTLOSS_UNROLL
            for (int part = 0; part < kParts; ++part) read_y(vector, part, y + part * kPart);
          }
          if (wants.ready) walk.ready_labels(task, place, y);
        }
        visit(place, x, y);
      }
    }
    has_x = has_x || wants.x;
    has_y = has_y || wants_y;
  }

  __device__ __forceinline__ void widen_x(const uint32_t (&words)[4], T (&x)[kWidth]) const {
    RawVectors<1, kWidth> raw;
    FASTLOSS_UNROLL
    for (int i = 0; i < 4; ++i) raw.words[0][i] = words[i];
    Predictions<kSize>::widen(raw, walk.y_pred_dtype, x);
  }

  __device__ __forceinline__ void store(const Place& place, const T (&numbers)[kWidth]) const {
    uint32_t words[4] = {};
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      put<kSize>(words, i, Predictions<kSize>::narrow(numbers[i], walk.y_pred_dtype));
    char* const at = static_cast<char*>(walk.gradient) + (task.row * classes + place.first) * kSize;
    if (classes % kWidth == 0 && is_aligned<16>(walk.gradient)) {
      if (place.count) store_whole<16>(words, at);
      return;
    }
    store_shifted<kSize>(words, place.count,
                         place_of(static_cast<int>(place.first / kWidth) + 1).count, at);
  }
};

// How many blocks share a multiprocessor: said, so that the compiler does not spill registers for
// more.
template <int kSize, bool kPicks, class Group>
constexpr int kBlocksAtLeast = kSize < 8 && Group::kBlock == kThreads ? 2 : 1;

template <int kSize, bool kPicks, class Group>
__global__ void __launch_bounds__(Group::kBlock, kBlocksAtLeast<kSize, kPicks, Group>)
    rows_along(const __grid_constant__ RowWalk<typename Predictions<kSize>::T> walk,
               const Kept kept) {
  using T = typename Predictions<kSize>::T;
  using Classes = RowAlong<kSize, kPicks, Group>;
  const Group group;
  const T scale = walk.gradient ? walk.scale() : T(0);
  const int64_t end = walk.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t base = walk.pieces.begin(blockIdx.x); base < end; base += Group::kRows) {
    const bool live = base + Group::row() < end;
    const RowTask<T> task = walk.task(live ? base + Group::row() : base, scale);
    Classes row(walk, task, kept, live);
    const bool speaks = live && Group::lane() == 0;
    // What nobody asks for is not read, as long as it is the whole block's.
    if (Group::kWhole && task.skips) {
      if (walk.gradient)
        row.template each<false>({false, false, false},
                                 [&](const Place& place, const auto&, const auto&) {
                                   T fill[Classes::kWidth];
                                   FASTLOSS_UNROLL
                                   for (int i = 0; i < Classes::kWidth; ++i) fill[i] = task.fill;
                                   row.store(place, fill);
                                 });
      sum += put_result(walk, task, {task.fill, task.fill, false}, speaks);
      continue;
    }
    RowLoss<kPicks, T, Classes, Group> loss(walk, task, row, group);
    const RowResult<T> result = loss.compute();
    sum += put_result(walk, task, result, speaks);
  }
  if (!walk.partials) return;
  if constexpr (!Group::kWhole) sum = block_sum(sum);
  if (threadIdx.x == 0) walk.partials[blockIdx.x] = sum;
}

// A row that outgrows a block of kThreads: enough loads are under way even where one block has all
// shared memory of a multiprocessor. Rows of labels want more registers than more threads have.
template <bool kPicks>
using LongRow = RowGroup<kPicks ? 512 : kThreads, kPicks ? 512 : kThreads>;
using MiddleRow = RowGroup<kThreads, kThreads>;
using WarpRow = RowGroup<kWarp, kThreads>;

// What several blocks of a multiprocessor take of its shared memory.
constexpr int64_t kSharedOfSeveral = 64 << 10;

template <int kSize, bool kPicks, class Group>
int launch_rows_of(const RowWalk<typename Predictions<kSize>::T>& walk, int64_t room,
                   void* stream) {
  using Classes = RowAlong<kSize, kPicks, Group>;
  constexpr int kWidth = Classes::kWidth;
  Kept kept = {0, 0};
  if (!kPicks && !walk.sparse)
    kept.label_words = std::max(1, Classes::kPart * walk.y_true_size / 4);
  // A softmax alone needs a row once.
  const int64_t bytes = Group::kRows * (16 + 4 * Classes::kParts * kept.label_words);
  if (!kPicks || walk.gradient || walk.hit)
    kept.vectors = static_cast<int>(
        std::min((walk.classes + 4 * kWidth - 1) / (4 * kWidth), room / (4 * bytes)) * 4);
  return launch(rows_along<kSize, kPicks, Group>, walk.pieces.count, Group::kBlock,
                kept.vectors * bytes, stream, walk, kept);
}

template <int kSize, bool kPicks>
int launch_rows_that(const RowWalk<typename Predictions<kSize>::T>& walk, void* stream) {
  const int64_t bytes = walk.classes * kSize, room = shared_room();
  const int64_t some = std::min(room, kSharedOfSeveral);
  if (bytes <= kWarpRow) return launch_rows_of<kSize, kPicks, WarpRow>(walk, some, stream);
  if (bytes <= kMiddleRow) return launch_rows_of<kSize, kPicks, MiddleRow>(walk, some, stream);
  return launch_rows_of<kSize, kPicks, LongRow<kPicks>>(walk, room, stream);
}

#define FASTLOSS_INSTANTIATE_ROWS_ALONG(SIZE)                                                 \
  template <>                                                                                 \
  int launch_rows_along<SIZE>(const RowWalk<typename Predictions<SIZE>::T>& walk, bool picks, \
                              void* stream) {                                                 \
    return picks ? launch_rows_that<SIZE, true>(walk, stream)                                 \
                 : launch_rows_that<SIZE, false>(walk, stream);                               \
  }

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
