// A position of a tile whose classes depend on one another: through a softmax, a class label, the
// ignored class, or a fused rowwise loss. It has `lanes` neighbouring threads, each of which takes
// every so many-th class.
#pragma once

#include "cuda/overlap/tile.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
__device__ __forceinline__ T lanes_total(T x, int width) {
  return combine_lanes(x, width, [](T a, T b) { return a + b; });
}
template <class T>
__device__ __forceinline__ T lanes_largest(T x, int width) {
  return combine_lanes(x, width, [](T a, T b) { return b > a ? b : a; });
}

template <class Tile>
class OverlapPosition {
 public:
  using T = typename Tile::T;
  static constexpr bool kSparse = !Tile::kDense;

  // Position `position` of the tile, which may be beyond its end: all threads of a block must
  // construct one, as they exchange values.
  __device__ __forceinline__ OverlapPosition(const Tile& tile, const FusedRowLosses<T>& fused_terms,
                                             int position)
      : tile_(tile),
        pass_(tile.pass),
        fused_terms_(fused_terms),
        lane_(static_cast<int>(threadIdx.x) % tile.layout.lanes),
        lanes_(tile.layout.lanes),
        group_(static_cast<int>(threadIdx.x) / tile.layout.lanes),
        classes_(position < tile.count ? tile.classes : 0),
        row_(tile.rows + position * tile.stride),
        label_(tile.labels + position * tile.stride),
        softmax_(pass_.activation == FASTLOSS_SOFTMAX),
        keeps_logits_(fused_terms.count && !kSparse),
        label_index_(tile.label_indices[position]) {
    if (!kSparse && pass_.has_ignore_class) skip_unlabelled();
    has_label_ = kSparse && label_index_ >= 0 && label_index_ % lanes_ == lane_;
    if (softmax_) normalize();
  }

  // Leaves probabilities in the row, or exponentials and the factor that makes them probabilities;
  // adds to the sums of the fused terms.
  __device__ __forceinline__ void accumulate(T* factor) {
    for (int k = 0; k < fused_terms_.count; ++k) {
      T value;
      if constexpr (kSparse)
        value = lanes_total(at_label(fused_terms_.terms[k]).value, lanes_);
      else
        value = row_sums(fused_terms_.terms[k]).a;
      if (lane_ == 0 && label_index_ != kSkipped) tile_.sum(k, group_) += double(value);
    }
    if (tile_.layout.slots && lane_ == 0)
      tile_.sum(fused_terms_.count, group_) += label_index_ != kSkipped;
    if (label_index_ < 0) {
      const T instead = label_index_ == kSkipped ? T(0) : Format<T>::kNan;
      for (int c = lane_; c < classes_; c += lanes_) row_[c] = instead;
      factor_ = T(1);
    } else if (keeps_logits_) {
      for (int c = lane_; c < classes_; c += lanes_) row_[c] = probability(c).p;
      factor_ = T(1);
    }
    if (softmax_ && lane_ == 0) *factor = factor_;
  }

  // Leaves the gradient in the row. `upstream` multiplies the derivatives of the fused terms.
  __device__ __forceinline__ void differentiate(double upstream) {
    T label_slope = 0;
    for (int k = 0; k < fused_terms_.count; ++k) {
      if constexpr (kSparse) {
        label_slope += at_label(fused_terms_.terms[k]).slope * fused_term_scale(k, upstream);
      } else {
        const RowSums<T> sums = row_sums(fused_terms_.terms[k]);
        if (lane_ == 0) tile_.gradient_sums(k, group_) = {sums.b, sums.c};
      }
    }
    if constexpr (kSparse) label_slope = lanes_total(label_slope, lanes_);
    // The other lanes read the sums that the first one stores.
    const bool waits = !kSparse && keeps_logits_ && lanes_ > 1;
    if (waits) __syncthreads();
    T common = 0;
    if (softmax_) {
      for (int c = lane_; c < classes_; c += lanes_) {
        const T p = probability(c).p;
        common += p * region_slope(c, p);
      }
      // The softmax spreads derivatives: each class loses its share of the sum, the label's
      // included.
      common = -label_slope - lanes_total(common, lanes_);
    }
    for (int c = lane_; c < classes_; c += lanes_) {
      const ClassProbability<T> x = probability(c);
      T slope = region_slope(c, x.p);
      if (softmax_)
        slope = x.p * (slope + common);
      else if (pass_.activation == FASTLOSS_SIGMOID)
        slope *= x.p * (T(1) - x.p);
      if (kSparse && c == label_index_) slope += label_slope;
      if constexpr (!kSparse) {
        if (keeps_logits_) slope += fused_slope(c, x, upstream);
      }
      row_[c] = label_index_ >= 0 ? slope : label_index_ == kSkipped ? T(0) : Format<T>::kNan;
    }
    if (waits) __syncthreads();
  }

 private:
  __device__ __forceinline__ T fused_term_scale(int k, double upstream) const {
    return T(pass_.scales[1 + k] * upstream);
  }

  // Skips a row of labels that are all 0 except for the ignored class.
  __device__ __forceinline__ void skip_unlabelled() {
    int labelled = 0;
    for (int c = lane_; c < classes_; c += lanes_)
      labelled |= c != pass_.ignore_class && label_[c] != 0;
    if (lanes_total(labelled, lanes_)) return;
    label_index_ = kSkipped;
    for (int c = lane_; c < classes_; c += lanes_) label_[c] = T(0);
  }

  __device__ __forceinline__ void normalize() {
    if (has_label_) label_log_p_ = row_[label_index_];
    T largest = -Format<T>::kInfinity;
    for (int c = lane_; c < classes_; c += lanes_) largest = row_[c] > largest ? row_[c] : largest;
    largest = lanes_largest(largest, lanes_);
    shift_ = largest == -Format<T>::kInfinity ? T(0) : largest;
    T sum = 0;
    for (int c = lane_; c < classes_; c += lanes_) {
      const T e = detail::exp_flushed(row_[c] - shift_);
      if (!keeps_logits_) row_[c] = e;
      sum += e;
    }
    sum = lanes_total(sum, lanes_);
    factor_ = T(1) / sum;
    if (fused_terms_.count) log_sum_ = log(sum);
    label_log_p_ = (label_log_p_ - shift_) - log_sum_;
  }

  __device__ __forceinline__ ClassProbability<T> probability(int c) const {
    if (!kSparse && keeps_logits_) {
      const T x = row_[c] - shift_;
      return {detail::exp_flushed(x) * factor_, x - log_sum_};
    }
    return {row_[c] * factor_, T(0)};
  }

  // The derivative of the overlap loss by the probability of class c.
  __device__ __forceinline__ T region_slope(int c, T p) const {
    T slope = tile_.by_prediction[c];
    if (pass_.squared) slope *= T(2) * p;
    if (!kSparse)
      slope += tile_.by_intersection[c] * label_[c];
    else if (c == label_index_)
      slope += tile_.by_intersection[c];
    return slope;
  }

  // A fused loss of the class label: in the thread that has its class, 0 in the others.
  __device__ __forceinline__ Point<T> at_label(const FusedRowLoss<T>& fused_term) const {
    Point<T> point = {T(0), T(0)};
    if (label_index_ == kNoClass && lane_ == 0) point.value = point.slope = Format<T>::kNan;
    if (!has_label_) return point;
    const T p = row_[label_index_] * factor_;
    visit_fused_row_loss<true>(fused_term,
                               [&](const auto& loss) { point = loss.at_label({p, label_log_p_}); });
    return point;
  }

  __device__ __forceinline__ RowSums<T> row_sums(const FusedRowLoss<T>& fused_term) const {
    RowSums<T> sums = {T(0), T(0), T(0)};
    visit_fused_row_loss<false>(fused_term, [&](const auto& loss) {
      sums = fused_row_sums<T>(
          loss, lane_, lanes_, classes_,
          [&](int c) { return ClassProbability<T>{label_[c], label_[c]}; },
          [&](int c) { return probability(c); });
    });
    return sums;
  }

  // The derivative of the fused losses of a row of labels by logit c.
  __device__ __forceinline__ T fused_slope(int c, ClassProbability<T> x, double upstream) const {
    T slope = 0;
    for (int k = 0; k < fused_terms_.count; ++k)
      visit_fused_row_loss<false>(fused_terms_.terms[k], [&](const auto& loss) {
        const GradientSums<T> sums = tile_.gradient_sums(k, group_);
        slope += loss.gradient({label_[c], label_[c]}, x, {T(0), sums.b, sums.c}) *
                 fused_term_scale(k, upstream);
      });
    return slope;
  }

  const Tile& tile_;
  const OverlapPass<T>& pass_;
  const FusedRowLosses<T>& fused_terms_;
  const int lane_, lanes_, group_, classes_;
  T *const row_, *const label_;
  const bool softmax_;
  const bool keeps_logits_;  // fused losses of rows need the logarithms of probabilities too
  int32_t label_index_;
  bool has_label_;  // whether this thread has the class of the label
  T label_log_p_ = 0;
  T shift_ = 0, factor_ = 1, log_sum_ = 0;
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
