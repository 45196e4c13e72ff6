// What is done with the positions of a tile whose classes are looked at together: a softmax, labels
// that are classes, positions that are skipped, rowwise losses beside. A position has `lanes`
// neighbouring threads, of which each takes every so many-th class.
#pragma once

#include "cuda/overlap/tile.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// The sum, or the largest, over `width` neighbouring threads; all of them get the same bits.
template <class T>
__device__ __forceinline__ T lanes_total(T x, int width) {
  for (int mask = width / 2; mask > 0; mask /= 2) x += from_lane_across(x, mask);
  return x;
}
template <class T>
__device__ __forceinline__ T lanes_largest(T x, int width) {
  for (int mask = width / 2; mask > 0; mask /= 2) {
    const T other = from_lane_across(x, mask);
    x = other > x ? other : x;
  }
  return x;
}

template <class Tile>
class OverlapPosition {
 public:
  using T = typename Tile::T;
  using Place = typename Tile::Place;
  static constexpr bool kSparse = !Tile::kDense;

  // Position `position` of the tile, which may lie behind its end. All threads must make one.
  __device__ __forceinline__ OverlapPosition(const Tile& tile, const BoxedRows<T>& fused_terms,
                                             int position)
      : tile_(tile),
        walk_(tile.walk),
        fused_terms_(fused_terms),
        lane_(static_cast<int>(threadIdx.x) % tile.layout.lanes),
        lanes_(tile.layout.lanes),
        classes_(position < tile.count ? tile.classes : 0),
        row_(tile.rows + position * tile.stride),
        label_(tile.labels + position * tile.stride),
        softmax_(walk_.activation == FASTLOSS_SOFTMAX),
        keeps_(fused_terms.count && !kSparse),
        mark_(tile.marks[position]) {
    if (!kSparse && walk_.has_ignore_class) skip_unlabelled();
    owns_ = kSparse && mark_ >= 0 && mark_ % lanes_ == lane_;
    if (softmax_) take_softmax();
  }

  // Leaves shares in the row, or exponentials and their factor; adds up the fused_terms.
  __device__ __forceinline__ void collect(double* sums, T* factor) {
    const int64_t room = tile_.layout.sums_of_slot();
    for (int k = 0; k < fused_terms_.count; ++k) {
      T value;
      if constexpr (kSparse)
        value = lanes_total(at_label(fused_terms_.terms[k]).value, lanes_);
      else
        value = of_dense(fused_terms_.terms[k]).a;
      if (lane_ == 0 && mark_ != kSkipped) sums[k * room] += double(value);
    }
    if (tile_.layout.slots && lane_ == 0) sums[fused_terms_.count * room] += mark_ != kSkipped;
    if (mark_ < 0) {
      const T instead = mark_ == kSkipped ? T(0) : Format<T>::kNan;
      for (int c = lane_; c < classes_; c += lanes_) row_[c] = instead;
      factor_ = T(1);
    } else if (keeps_) {
      for (int c = lane_; c < classes_; c += lanes_) row_[c] = share(c).p;
      factor_ = T(1);
    }
    if (softmax_ && lane_ == 0) *factor = factor_;
  }

  // Leaves the gradient in the row. `found` holds a number of each fused_term; `outside` is what
  // the fused_terms' slopes are multiplied by.
  __device__ __forceinline__ void differentiate(double* found, double outside) {
    const int64_t room = tile_.layout.sums_of_slot();
    T own = 0;
    for (int k = 0; k < fused_terms_.count; ++k) {
      if constexpr (kSparse) {
        own += at_label(fused_terms_.terms[k]).slope * fused_term_scale(k, outside);
      } else {
        const T sum = of_dense(fused_terms_.terms[k]).b;
        if (lane_ == 0) found[k * room] = double(sum);
      }
    }
    if constexpr (kSparse) own = lanes_total(own, lanes_);
    // The other lanes read what the first has found.
    const bool waits = !kSparse && keeps_ && lanes_ > 1;
    if (waits) __syncthreads();
    T rest = 0;
    if (softmax_) {
      for (int c = lane_; c < classes_; c += lanes_) {
        const T p = share(c).p;
        rest += p * region_slope(c, p);
      }
      // Of logits the slope of the label is shared out: what it has, all classes lose by their p.
      rest = -own - lanes_total(rest, lanes_);
    }
    for (int c = lane_; c < classes_; c += lanes_) {
      const ClassProbability<T> x = share(c);
      T slope = region_slope(c, x.p);
      if (softmax_)
        slope = x.p * (slope + rest);
      else if (walk_.activation == FASTLOSS_SIGMOID)
        slope *= x.p * (T(1) - x.p);
      if (kSparse && c == mark_) slope += own;
      if constexpr (!kSparse) {
        if (keeps_) slope += dense_slopes(c, x, found, outside);
      }
      row_[c] = mark_ >= 0 ? slope : mark_ == kSkipped ? T(0) : Format<T>::kNan;
    }
    if (waits) __syncthreads();
  }

 private:
  __device__ __forceinline__ T fused_term_scale(int k, double outside) const {
    return T(walk_.scales[1 + k] * outside);
  }

  // A row of labels that are 0 outside of the ignored class.
  __device__ __forceinline__ void skip_unlabelled() {
    int labelled = 0;
    for (int c = lane_; c < classes_; c += lanes_)
      labelled |= c != walk_.ignore_class && label_[c] != 0;
    if (lanes_total(labelled, lanes_)) return;
    mark_ = kSkipped;
    for (int c = lane_; c < classes_; c += lanes_) label_[c] = T(0);
  }

  __device__ __forceinline__ void take_softmax() {
    if (owns_) z_ = row_[mark_];
    T largest = -Format<T>::kInfinity;
    for (int c = lane_; c < classes_; c += lanes_) largest = row_[c] > largest ? row_[c] : largest;
    largest = lanes_largest(largest, lanes_);
    shift_ = largest == -Format<T>::kInfinity ? T(0) : largest;
    T sum = 0;
    for (int c = lane_; c < classes_; c += lanes_) {
      const T e = detail::exp_flushed(row_[c] - shift_);
      if (!keeps_) row_[c] = e;
      sum += e;
    }
    sum = lanes_total(sum, lanes_);
    factor_ = T(1) / sum;
    if (fused_terms_.count) log_sum_ = log(sum);
    z_ = (z_ - shift_) - log_sum_;
  }

  __device__ __forceinline__ ClassProbability<T> share(int c) const {
    if (!kSparse && keeps_) {
      const T x = row_[c] - shift_;
      return {detail::exp_flushed(x) * factor_, x - log_sum_};
    }
    return {row_[c] * factor_, T(0)};
  }

  __device__ __forceinline__ T region_slope(int c, T p) const {
    T slope = tile_.by_prediction[c];
    if (walk_.squared) slope *= T(2) * p;
    if (!kSparse)
      slope += tile_.by_intersection[c] * label_[c];
    else if (c == mark_)
      slope += tile_.by_intersection[c];
    return slope;
  }

  // Of a class label, in the thread that has its class; 0 in others.
  __device__ __forceinline__ Point<T> at_label(const BoxedRow<T>& fused_term) const {
    Point<T> point = {T(0), T(0)};
    if (mark_ == kNoClass && lane_ == 0) point.value = point.slope = Format<T>::kNan;
    if (!owns_) return point;
    const T p = row_[mark_] * factor_;
    unbox_row<true>(fused_term, [&](const auto& loss) { point = loss.at_label({p, z_}); });
    return point;
  }

  // Of a row of labels, what finalize() makes of its sums.
  __device__ __forceinline__ Sums<T> of_dense(const BoxedRow<T>& fused_term) const {
    Sums<T> sums = {T(0), T(0), T(0)};
    unbox_row<false>(fused_term, [&](const auto& loss) {
      sums = loss.identity();
      for (int c = lane_; c < classes_; c += lanes_)
        sums = loss.combine(sums, loss.accumulate({label_[c], label_[c]}, share(c)));
      sums = {lanes_total(sums.a, lanes_), lanes_total(sums.b, lanes_), T(0)};
      sums = loss.finalize(sums);
    });
    return sums;
  }

  __device__ __forceinline__ T dense_slopes(int c, ClassProbability<T> x, const double* found,
                                            double outside) const {
    const int64_t room = tile_.layout.sums_of_slot();
    T slope = 0;
    for (int k = 0; k < fused_terms_.count; ++k)
      unbox_row<false>(fused_terms_.terms[k], [&](const auto& loss) {
        slope += loss.gradient({label_[c], label_[c]}, x, {T(0), T(found[k * room]), T(0)}) *
                 fused_term_scale(k, outside);
      });
    return slope;
  }

  const Tile& tile_;
  const OverlapWalk<T>& walk_;
  const BoxedRows<T>& fused_terms_;
  const int lane_, lanes_, classes_;
  T *const row_, *const label_;
  const bool softmax_, keeps_;
  int32_t mark_;
  bool owns_;  // the thread that has the class of the label
  T z_ = 0;    // of that class
  T shift_ = 0, factor_ = 1, log_sum_ = 0;
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
