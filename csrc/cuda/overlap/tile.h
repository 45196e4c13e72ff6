// A tile of the overlap pattern: the part of a block's memory that holds some positions with all
// their classes, and the transfers between it and global memory.
#pragma once

#include "cuda/common/class_label.h"
#include "cuda/overlap/fused_rows.h"
#include "cuda/overlap/pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// In place of the class of a position: it is ignored, or its label is not a class.
constexpr int32_t kSkipped = -1, kNoClass = -2;

// Bytes of each element of a slot: a sum, or the sums that the gradient of a fused rowwise loss
// depends on.
template <class T>
constexpr int slot_bytes(OverlapCase which, bool gradient) {
  constexpr int kSums = sizeof(GradientSums<T>), kSum = sizeof(double);
  return gradient && which == OverlapCase::label_rows && kSums > kSum ? kSums : kSum;
}

template <int kSize, OverlapCase kCase, bool kWide, bool kGradient>
struct OverlapTile {
  using T = typename Predictions<kSize>::T;
  // Into the tile.
  using Offset = std::conditional_t<kWide, int64_t, int>;
  static constexpr bool kDense = is_dense(kCase), kByPosition = is_by_position(kCase);
  static constexpr int kWidth = 16 / kSize;
  static constexpr int kVectors = kSize == 2 ? 1 : 2;
  static constexpr int kSlotBytes = slot_bytes<T>(kCase, kGradient);

  const OverlapPass<T>& pass;
  const OverlapLayout& layout;
  void* slots;                         // (slots, positions or warps)
  T *rows, *labels;                    // (positions, stride); labels of class_labels are elsewhere
  T *by_intersection, *by_prediction;  // (classes,): derivatives of the group's loss
  T* factors;                          // of positions: turn a row of exponentials to probabilities
  int32_t* label_indices;              // of positions: a class, or a constant above
  double* wide_sums;                   // (classes, 3)
  const int classes, inner_width;      // inner_width: elements of a vector across positions
  const Offset stride;
  int64_t image = 0, first = 0;  // first: position of the image
  int count = 0;                 // of positions

  __device__ __forceinline__ explicit OverlapTile(const OverlapPass<T>& pass)
      : pass(pass),
        layout(pass.layout),
        slots(shared_memory()),
        wide_sums(nullptr),
        classes(static_cast<int>(pass.layout.classes)),
        inner_width(pass.layout.inner() % kWidth ? 1 : kWidth),
        stride(static_cast<Offset>(pass.layout.stride)) {
    T* numbers = reinterpret_cast<T*>(static_cast<char*>(slots) +
                                      layout.slots * layout.sums_of_slot() * kSlotBytes);
    if constexpr (kWide) {
      const int64_t bytes = layout.workspace_bytes(sizeof(T));
      wide_sums = reinterpret_cast<double*>(pass.workspace + blockIdx.x * bytes);
      rows = reinterpret_cast<T*>(wide_sums + 3 * int64_t(classes));
      factors = numbers;
    } else {
      rows = numbers;
    }
    labels = rows + layout.tile_size();
    by_intersection = kDense ? labels + layout.tile_size() : labels;
    by_prediction = by_intersection + classes;
    if constexpr (!kWide) factors = by_prediction + classes;
    label_indices = reinterpret_cast<int32_t*>(factors + layout.positions_of_tile());
  }

  // The sum of fused term k of a group of threads or a warp; k may also be the count of terms.
  __device__ __forceinline__ double& sum(int64_t k, int group) const {
    return static_cast<double*>(slots)[k * layout.sums_of_slot() + group];
  }
  __device__ __forceinline__ GradientSums<T>& gradient_sums(int64_t k, int group) const {
    static_assert(sizeof(GradientSums<T>) == kSlotBytes, "a slot holds them");
    return static_cast<GradientSums<T>*>(slots)[k * layout.sums_of_slot() + group];
  }

  __device__ __forceinline__ void begin(int64_t of_image, int64_t tile) {
    image = of_image;
    first = tile << layout.position_bits;
    const int64_t left = layout.positions - first;
    count = static_cast<int>(left < layout.positions_of_tile() ? left : layout.positions_of_tile());
  }

  // Loads rows, activated by the sigmoid if `activate`, with labels or label indices.
  __device__ __forceinline__ void load(bool activate) const {
    if (layout.inner() == 1)
      for_each_contiguous([&](const Vectors& at) { load_vectors<kWidth, true>(at, activate); });
    else if (inner_width == kWidth)
      for_each_strided<kWidth>(
          [&](const Vectors& at) { load_vectors<kWidth, false>(at, activate); });
    else
      for_each_strided<1>([&](const Vectors& at) { load_vectors<1, false>(at, activate); });
    if constexpr (kByPosition)
      for (int i = static_cast<int>(threadIdx.x); i < layout.positions_of_tile(); i += kThreads)
        label_indices[i] = i >= count ? kSkipped : kDense ? 0 : label_index(first + i);
  }

  // Stores rows in the gradient.
  __device__ __forceinline__ void store() const {
    if (layout.inner() == 1)
      for_each_contiguous([&](const Vectors& at) { store_vectors<kWidth, true>(at); });
    else if (inner_width == kWidth)
      for_each_strided<kWidth>([&](const Vectors& at) { store_vectors<kWidth, false>(at); });
    else
      for_each_strided<1>([&](const Vectors& at) { store_vectors<1, false>(at); });
  }

 private:
  // kVectors vectors of a thread, of which the elements in [begin, end) count.
  struct Vectors {
    int64_t first[kVectors], begin, end;
    Offset offset[kVectors];  // of the first element that counts
    int column[kVectors];     // its class
  };

  // Calls body(vectors) for a tile whose positions are contiguous: elements follow one another
  // class by class.
  template <class Body>
  __device__ __forceinline__ void for_each_contiguous(const Body& body) const {
    Vectors at;
    at.begin = (image * layout.positions + first) * classes;
    at.end = at.begin + int64_t(count) * classes;
    for (int64_t base = at.begin / kWidth * kWidth + int64_t(threadIdx.x) * kWidth; base < at.end;
         base += kVectors * kThreads * kWidth) {
      FASTLOSS_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        at.first[v] = base + v * kThreads * kWidth;
        const int64_t element = at.first[v] < at.begin ? 0 : at.first[v] - at.begin;
        const int64_t row = layout.by_classes(element);
        at.column[v] = static_cast<int>(element - row * classes);
        at.offset[v] = static_cast<Offset>(row) * stride + at.column[v];
      }
      body(at);
    }
  }

  // Calls body(vectors) for a tile whose positions are strided: kRun elements of the same class
  // follow one another.
  template <int kRun, class Body>
  __device__ __forceinline__ void for_each_strided(const Body& body) const {
    constexpr int kBits = kRun == 8 ? 3 : kRun == 4 ? 2 : kRun == 2 ? 1 : 0;
    const int bits = layout.position_bits - kBits;
    const Offset items = static_cast<Offset>(classes) << bits;
    Vectors at;
    at.begin = 0;
    at.end = layout.images * layout.positions * classes;
    for (Offset base = static_cast<Offset>(threadIdx.x); base < items;
         base += kVectors * kThreads) {
      FASTLOSS_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const Offset item = base + v * kThreads;
        const int position = static_cast<int>(item & ((Offset(1) << bits) - 1)) << kBits;
        at.column[v] = static_cast<int>(item >> bits);
        at.offset[v] = static_cast<Offset>(position) * stride + at.column[v];
        const int64_t global = image * layout.positions + first + position;
        const int64_t above = layout.by_inner(global);
        at.first[v] = item < items && position < count
                          ? ((above * classes + at.column[v]) * layout.inner()) +
                                (global - above * layout.inner())
                          : at.end;
      }
      body(at);
    }
  }

  // Calls body(i, offset) for the elements of vector v that count.
  template <int kRun, bool kContiguous, class Body>
  __device__ __forceinline__ void for_each_element_of(const Vectors& at, int v,
                                                      const Body& body) const {
    Offset offset = at.offset[v];
    int column = at.column[v];
    FASTLOSS_UNROLL
    for (int i = 0; i < kRun; ++i) {
      if (at.first[v] + i < at.begin || at.first[v] + i >= at.end) continue;
      body(i, offset);
      if constexpr (kContiguous) {
        ++offset;
        if (++column < classes) continue;
        column = 0;
        offset += stride - classes;
      } else {
        offset += stride;
      }
    }
  }

  template <int kRun, bool kContiguous>
  __device__ __forceinline__ void load_vectors(const Vectors& at, bool activate) const {
    RawVectors<kVectors, kRun> raw, raw_labels;
    raw.template load_of_size<kSize>(pass.y_pred, at.first, at.begin, at.end);
    if constexpr (kDense)
      raw_labels.load_any(pass.y_true_size, pass.y_true, at.first, at.begin, at.end);
    T numbers[kVectors * kRun];
    Predictions<kSize>::widen(raw, pass.y_pred_dtype, numbers);
    if (activate) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kVectors * kRun; ++i) numbers[i] = sigmoid(numbers[i]);
    }
    FASTLOSS_UNROLL
    for (int v = 0; v < kVectors; ++v)
      for_each_element_of<kRun, kContiguous>(
          at, v, [&](int i, Offset offset) { rows[offset] = numbers[v * kRun + i]; });
    if constexpr (kDense) {
      raw_labels.widen_any(pass.y_true_dtype, numbers);
      FASTLOSS_UNROLL
      for (int v = 0; v < kVectors; ++v)
        for_each_element_of<kRun, kContiguous>(
            at, v, [&](int i, Offset offset) { labels[offset] = numbers[v * kRun + i]; });
    }
  }

  template <int kRun, bool kContiguous>
  __device__ __forceinline__ void store_vectors(const Vectors& at) const {
    FASTLOSS_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      T numbers[kRun] = {};
      for_each_element_of<kRun, kContiguous>(
          at, v, [&](int i, Offset offset) { numbers[i] = rows[offset]; });
      if constexpr (kRun == 1) {
        using Bits = typename RawOf<kSize>::Bits;
        if (at.first[v] < at.end)
          static_cast<Bits*>(pass.gradient)[at.first[v]] =
              Predictions<kSize>::narrow(numbers[0], pass.y_pred_dtype);
      } else {
        store_numbers<kSize, kRun>(numbers, pass.y_pred_dtype, at.first[v], at.begin, at.end,
                                   pass.gradient);
      }
    }
  }

  __device__ __forceinline__ int32_t label_index(int64_t position) const {
    const int64_t label =
        class_label(pass.y_true_dtype, pass.y_true, image * layout.positions + position);
    if (pass.has_ignore_class && label == pass.ignore_class) return kSkipped;
    return label >= 0 && label < classes ? static_cast<int32_t>(label) : kNoClass;
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
