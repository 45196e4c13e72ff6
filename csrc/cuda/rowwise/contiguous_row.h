// A row whose classes are contiguous, and more than registers hold, for a warp or a block. Each
// thread caches the vectors that it has read in shared memory, unconverted, as far as there is
// room, so that this part of a row is read from global memory once. The rest is read again, through
// the L2 cache.
#pragma once

#include "cuda/common/unaligned.h"
#include "cuda/rowwise/row_loss.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// How much of each row a thread group caches.
struct RowCache {
  int vectors;      // a multiple of 4
  int label_words;  // of a part of a vector of labels, or 0 if labels are not read
};

template <int kSize, bool kAtLabel, class Group>
struct ContiguousRow {
  using T = typename Predictions<kSize>::T;
  static constexpr int kWidth = 16 / kSize;
  // Labels of 8 bytes may take four times the registers of predictions: they are read in parts.
  static constexpr int kPart = kWidth < 4 ? kWidth : 4, kParts = kWidth / kPart;
  // Vectors in flight before the first is used.
  static constexpr int kInFlight = !kAtLabel ? 1 : Group::kBlock > kThreads ? 4 : 2;

  const RowPass<T>& pass;
  const RowTask<T>& task;
  const int64_t classes;
  const int vectors, cached, label_words;
  const bool exists;
  bool has_x = false, has_y = false;  // whether the cache has them

  __device__ __forceinline__ ContiguousRow(const RowPass<T>& pass, const RowTask<T>& task,
                                           const RowCache& cache, bool exists)
      : pass(pass),
        task(task),
        classes(pass.classes),
        vectors(static_cast<int>((pass.classes + kWidth - 1) / kWidth)),
        cached(cache.vectors),
        label_words(cache.label_words),
        exists(exists) {}

  // Where the cache holds a vector of predictions, and where the labels begin.
  __device__ __forceinline__ char* cached_x(int vector) const {
    const int bytes_of_row = cached * (16 + 4 * kParts * label_words);
    return static_cast<char*>(shared_memory()) + (Group::row() * bytes_of_row + vector * 16);
  }
  __device__ __forceinline__ uint32_t* cached_y() const {
    return reinterpret_cast<uint32_t*>(cached_x(cached));
  }

  __device__ __forceinline__ ClassSlice slice_of(int vector) const {
    const int64_t first = int64_t(vector) * kWidth, rest = exists ? classes - first : 0;
    return {first, rest >= kWidth ? kWidth : rest > 0 ? static_cast<int>(rest) : 0, 0};
  }

  __device__ __forceinline__ const char* x_at(int64_t c) const {
    return static_cast<const char*>(pass.y_pred) + (task.row * classes + c) * kSize;
  }

  __device__ __forceinline__ T at(int64_t c) const {
    if (!exists || c >= classes) return T(0);
    RawVectors<1, 1> raw;
    const int64_t first[1] = {0};
    raw.template load_of_size<kSize>(x_at(c), first, 0, 1);
    T x[1];
    Predictions<kSize>::widen(raw, pass.y_pred_dtype, x);
    return x[0];
  }

  __device__ __forceinline__ void load_x(int vector, uint32_t* words) const {
    const ClassSlice slice = slice_of(vector);
    if (has_x && vector < cached) return load_whole<16>(cached_x(vector), words);
    const char* const begin = static_cast<const char*>(pass.y_pred);
    load_unaligned<kSize>(x_at(slice.first), slice.count, begin,
                          begin + pass.rows * classes * kSize, words);
  }

  // Reads a part of a vector of labels. In the cache, neighbouring threads have neighbouring words,
  // which are in different banks.
  __device__ __forceinline__ void load_y(int vector, int part, T* y) const {
    RawVectors<1, kPart> raw;
    auto& words = raw.words[0];
    const bool in_cache = vector < cached;
    uint32_t* const cache = in_cache ? cached_y() + part * label_words * cached + vector : nullptr;
    if (has_y && in_cache) {
      FASTLOSS_UNROLL
      for (int i = 0; i < RawVectors<1, kPart>::kWords; ++i)
        if (i < label_words) words[i] = cache[i * cached];
    } else {
      const char* const row =
          static_cast<const char*>(pass.y_true) + task.row * classes * pass.y_true_size;
      const int64_t first[1] = {int64_t(vector) * kWidth + part * kPart};
      raw.load_any(pass.y_true_size, row, first, 0, exists ? classes : 0);
      if (in_cache) {
        FASTLOSS_UNROLL
        for (int i = 0; i < RawVectors<1, kPart>::kWords; ++i)
          if (i < label_words) cache[i * cached] = words[i];
      }
    }
    raw.widen_any(pass.y_true_dtype, y);
  }

  template <bool kLabels, class Visit>
  __device__ __forceinline__ void for_each(const Reads& reads, const Visit& visit) {
    const bool reads_y = kLabels && reads.y && !pass.sparse;
    for (int begin = 0; begin < vectors; begin += kInFlight * Group::kCount) {
      uint32_t raw_x[kInFlight][4];
      FASTLOSS_UNROLL
      for (int f = 0; f < kInFlight; ++f)
        if (reads.x) load_x(begin + f * Group::kCount + Group::lane(), raw_x[f]);
      FASTLOSS_UNROLL
      for (int f = 0; f < kInFlight; ++f) {
        if (begin + f * Group::kCount >= vectors) break;
        const int vector = begin + f * Group::kCount + Group::lane();
        const ClassSlice slice = slice_of(vector);
        T x[kWidth], y[kWidth];
        FASTLOSS_UNROLL
        for (int i = 0; i < kWidth; ++i) x[i] = y[i] = T(0);
        if (reads.x) {
          if (!has_x && vector < cached) store_shared(raw_x[f], cached_x(vector));
          widen_x(raw_x[f], x);
          if (reads.prepared) pass.prepare_predictions(slice, x);
        }
        if (kLabels && reads.y) {
          if (reads_y) {
            FASTLOSS_UNROLL
            for (int part = 0; part < kParts; ++part) load_y(vector, part, y + part * kPart);
          }
          if (reads.prepared) pass.prepare_labels(task, slice, y);
        }
        visit(slice, x, y);
      }
    }
    has_x = has_x || reads.x;
    has_y = has_y || reads_y;
  }

  __device__ __forceinline__ void widen_x(const uint32_t (&words)[4], T (&x)[kWidth]) const {
    RawVectors<1, kWidth> raw;
    FASTLOSS_UNROLL
    for (int i = 0; i < 4; ++i) raw.words[0][i] = words[i];
    Predictions<kSize>::widen(raw, pass.y_pred_dtype, x);
  }

  __device__ __forceinline__ void store(const ClassSlice& slice, const T (&numbers)[kWidth]) const {
    uint32_t words[4] = {};
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      put<kSize>(words, i, Predictions<kSize>::narrow(numbers[i], pass.y_pred_dtype));
    char* const at = static_cast<char*>(pass.gradient) + (task.row * classes + slice.first) * kSize;
    if (classes % kWidth == 0 && is_aligned<16>(pass.gradient)) {
      if (slice.count) store_whole<16>(words, at);
      return;
    }
    store_unaligned<kSize>(words, slice.count,
                           slice_of(static_cast<int>(slice.first / kWidth) + 1).count, at);
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
