// A tile of the overlap pattern on its way between memory and the rows of classes that a block
// works on.
#pragma once

#include "cuda/common/class_label.h"
#include "cuda/overlap/pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// In place of the class of a position: it has no part in anything; it has no class.
constexpr int32_t kSkipped = -1, kNoClass = -2;

template <int kSize, Meets kMeets, bool kWide>
struct OverlapTile {
  using T = typename Predictions<kSize>::T;
  // Of a number in a tile.
  using Place = std::conditional_t<kWide, int64_t, int>;
  static constexpr bool kDense = is_dense(kMeets), kByPosition = is_by_position(kMeets);
  static constexpr int kWidth = 16 / kSize;
  static constexpr int kVectors = kSize == 2 ? 1 : 2;

  const OverlapWalk<T>& walk;
  const OverlapLayout& layout;
  double* sums;                        // of fused_terms, (slots, positions or warps)
  T *rows, *labels;                    // (positions, stride); labels are dense ones
  T *by_intersection, *by_prediction;  // (classes,)
  T* factors;                          // of positions: of the row, to make shares of exponentials
  int32_t* marks;                      // of positions: a class, or as above
  double* wide_sums;                   // (classes, 3)
  const int classes, inner_width;      // inner_width: elements of a vector across positions
  const Place stride;
  int64_t image = 0, first = 0;  // position
  int count = 0;                 // of positions

  __device__ __forceinline__ explicit OverlapTile(const OverlapWalk<T>& walk)
      : walk(walk),
        layout(walk.layout),
        wide_sums(nullptr),
        classes(static_cast<int>(walk.layout.classes)),
        inner_width(walk.layout.inner() % kWidth ? 1 : kWidth),
        stride(static_cast<Place>(walk.layout.stride)) {
    sums = static_cast<double*>(shared_memory());
    T* numbers = reinterpret_cast<T*>(sums + layout.slots * layout.sums_of_slot());
    if constexpr (kWide) {
      const int64_t bytes = layout.workspace_bytes(sizeof(T));
      wide_sums = reinterpret_cast<double*>(walk.workspace + blockIdx.x * bytes);
      rows = reinterpret_cast<T*>(wide_sums + 3 * int64_t(classes));
      factors = numbers;
    } else {
      rows = numbers;
    }
    labels = rows + layout.room();
    by_intersection = kDense ? labels + layout.room() : labels;
    by_prediction = by_intersection + classes;
    if constexpr (!kWide) factors = by_prediction + classes;
    marks = reinterpret_cast<int32_t*>(factors + layout.positions_of_tile());
  }

  __device__ __forceinline__ void begin(int64_t of_image, int64_t tile) {
    image = of_image;
    first = tile << layout.position_bits;
    const int64_t left = layout.positions - first;
    count = static_cast<int>(left < layout.positions_of_tile() ? left : layout.positions_of_tile());
  }

  // kVectors vectors of neighbours in memory: of their elements, from `first` on, those in
  // [begin, end) count.
  struct Vectors {
    int64_t first[kVectors], begin, end;
    Place place[kVectors];  // of the first that counts
    int column[kVectors];   // its class
  };

  // Calls body(vectors) where the classes of a position are neighbours.
  template <class Body>
  __device__ __forceinline__ void each_along(const Body& body) const {
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
        at.place[v] = static_cast<Place>(row) * stride + at.column[v];
      }
      body(at);
    }
  }

  // The same where neighbours are of the same class, kRun of them.
  template <int kRun, class Body>
  __device__ __forceinline__ void each_across(const Body& body) const {
    constexpr int kBits = kRun == 8 ? 3 : kRun == 4 ? 2 : kRun == 2 ? 1 : 0;
    const int bits = layout.position_bits - kBits;
    const Place items = static_cast<Place>(classes) << bits;
    Vectors at;
    at.begin = 0;
    at.end = layout.images * layout.positions * classes;
    for (Place base = static_cast<Place>(threadIdx.x); base < items; base += kVectors * kThreads) {
      FASTLOSS_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const Place item = base + v * kThreads;
        const int position = static_cast<int>(item & ((Place(1) << bits) - 1)) << kBits;
        at.column[v] = static_cast<int>(item >> bits);
        at.place[v] = static_cast<Place>(position) * stride + at.column[v];
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

  // Calls put(i, place) for those of a vector's elements that count.
  template <int kRun, bool kAlong, class Put>
  __device__ __forceinline__ void each_element(const Vectors& at, int v, const Put& put) const {
    Place place = at.place[v];
    int column = at.column[v];
    FASTLOSS_UNROLL
    for (int i = 0; i < kRun; ++i) {
      if (at.first[v] + i < at.begin || at.first[v] + i >= at.end) continue;
      put(i, place);
      if constexpr (kAlong) {
        ++place;
        if (++column < classes) continue;
        column = 0;
        place += stride - classes;
      } else {
        place += stride;
      }
    }
  }

  template <int kRun, bool kAlong>
  __device__ __forceinline__ void load_vectors(const Vectors& at, bool activate) const {
    RawVectors<kVectors, kRun> raw, raw_labels;
    raw.template load_of_size<kSize>(walk.y_pred, at.first, at.begin, at.end);
    if constexpr (kDense)
      raw_labels.load_any(walk.y_true_size, walk.y_true, at.first, at.begin, at.end);
    T numbers[kVectors * kRun];
    Predictions<kSize>::widen(raw, walk.y_pred_dtype, numbers);
    if (activate) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kVectors * kRun; ++i) numbers[i] = sigmoid(numbers[i]);
    }
    FASTLOSS_UNROLL
    for (int v = 0; v < kVectors; ++v)
      each_element<kRun, kAlong>(at, v,
                                 [&](int i, Place place) { rows[place] = numbers[v * kRun + i]; });
    if constexpr (kDense) {
      raw_labels.widen_any(walk.y_true_dtype, numbers);
      FASTLOSS_UNROLL
      for (int v = 0; v < kVectors; ++v)
        each_element<kRun, kAlong>(
            at, v, [&](int i, Place place) { labels[place] = numbers[v * kRun + i]; });
    }
  }

  template <int kRun, bool kAlong>
  __device__ __forceinline__ void store_vectors(const Vectors& at) const {
    FASTLOSS_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      T numbers[kRun] = {};
      each_element<kRun, kAlong>(at, v, [&](int i, Place place) { numbers[i] = rows[place]; });
      if constexpr (kRun == 1) {
        using Bits = typename RawOf<kSize>::Bits;
        if (at.first[v] < at.end)
          static_cast<Bits*>(walk.gradient)[at.first[v]] =
              Predictions<kSize>::narrow(numbers[0], walk.y_pred_dtype);
      } else {
        store_numbers<kSize, kRun>(numbers, walk.y_pred_dtype, at.first[v], at.begin, at.end,
                                   walk.gradient);
      }
    }
  }

  // Into rows, through the sigmoid if asked to, into labels and marks.
  __device__ __forceinline__ void load(bool activate) const {
    if (layout.inner() == 1)
      each_along([&](const Vectors& at) { load_vectors<kWidth, true>(at, activate); });
    else if (inner_width == kWidth)
      each_across<kWidth>([&](const Vectors& at) { load_vectors<kWidth, false>(at, activate); });
    else
      each_across<1>([&](const Vectors& at) { load_vectors<1, false>(at, activate); });
    if constexpr (kByPosition)
      for (int i = static_cast<int>(threadIdx.x); i < layout.positions_of_tile(); i += kThreads)
        marks[i] = i >= count ? kSkipped : kDense ? 0 : mark_of(first + i);
  }

  // Out of rows, into the gradient.
  __device__ __forceinline__ void store() const {
    if (layout.inner() == 1)
      each_along([&](const Vectors& at) { store_vectors<kWidth, true>(at); });
    else if (inner_width == kWidth)
      each_across<kWidth>([&](const Vectors& at) { store_vectors<kWidth, false>(at); });
    else
      each_across<1>([&](const Vectors& at) { store_vectors<1, false>(at); });
  }

 private:
  __device__ __forceinline__ int32_t mark_of(int64_t position) const {
    const int64_t label =
        class_label(walk.y_true_dtype, walk.y_true, image * layout.positions + position);
    if (walk.has_ignore_class && label == walk.ignore_class) return kSkipped;
    return label >= 0 && label < classes ? static_cast<int32_t>(label) : kNoClass;
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
