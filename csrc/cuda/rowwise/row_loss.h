// One row of classes from its numbers to its loss and gradient, whoever holds the numbers.
//
// A `row` hands over its classes: each<kLabels>(wants, visit) calls visit(place, x, y) for every
// vector of them, the same number of times in each thread; at(c) is one raw prediction; store()
// takes the gradient of a vector.
#pragma once

#include "cuda/rowwise/row_group.h"
#include "cuda/rowwise/row_pass.h"
#include "cuda/rowwise/row_sums.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// What is asked of the classes of a row: predictions, labels, and these as the loss sees them.
struct Wants {
  bool x, y, ready;
};

template <class T>
struct RowResult {
  T loss, log_sum_exp;
  bool hit;
};

template <bool kPicks, class T, class Row_, class Group>
class RowLoss {
 public:
  static constexpr int kWidth = Row_::kWidth;

  __device__ __forceinline__ RowLoss(const RowWalk<T>& walk, const RowTask<T>& task, Row_& row,
                                     const Group& group)
      : walk_(walk), task_(task), row_(row), group_(group) {}

  __device__ __forceinline__ RowResult<T> compute() {
    RowResult<T> result = {T(0), T(0), false};
    if (walk_.hit) result.hit = is_hit() && !task_.skips;
    const T label_x = kPicks ? label_prediction() : T(0);
    normalise();
    if (walk_.functor.prediction == Normalization::softmax)
      result.log_sum_exp = x_.shift + x_.log_sum;
    // d z_loss * lse^2 / d lse
    z_slope_ = T(2) * walk_.z_loss * result.log_sum_exp;
    if constexpr (kPicks)
      result.loss = at_label(label_x);
    else
      result.loss = dense();
    if (walk_.z_loss != 0) result.loss += walk_.z_loss * result.log_sum_exp * result.log_sum_exp;
    result.loss *= task_.weight;
    if (task_.skips) result.loss = result.log_sum_exp = task_.fill;
    return result;
  }

 private:
  __device__ __forceinline__ Normalization normalization() const {
    return walk_.functor.prediction;
  }

  // Whether the first of the largest predictions is that of the labels; of raw numbers.
  __device__ __forceinline__ bool is_hit() {
    const Largest<T> nothing = {walk_.classes, -Format<T>::kInfinity};
    Largest<T> of_x = nothing, of_y = nothing;
    row_.template each<!kPicks>({true, !walk_.sparse, false},
                                [&](const Place& place, const T(&x)[kWidth], const T(&y)[kWidth]) {
                                  const auto place_of = [&](int i) { return place.at(i); };
                                  of_x.add(x, place.count, place_of);
                                  if constexpr (!kPicks) of_y.add(y, place.count, place_of);
                                });
    const auto join = [](Largest<T> x, Largest<T> y) { return Largest<T>::combine(x, y); };
    int64_t expected = task_.label;
    if constexpr (!kPicks) {
      if (!walk_.sparse) expected = group_.combine(of_y, join).place;
    }
    return group_.combine(of_x, join).place == expected;
  }

  // Read before any thread writes the gradient, which may take its place: to have been through a
  // join says so to all.
  __device__ __forceinline__ T label_prediction() {
    T x = row_.at(task_.label);
    if (normalization() == Normalization::none)
      x = group_.combine(x, [](T same, T) { return same; });
    return walk_.softens ? walk_.soften(x) : x;
  }

  // The softmax, or the sum of the parts.
  __device__ __forceinline__ void normalise() {
    const bool logits = normalization() == Normalization::softmax;
    const bool of_labels = !kPicks && walk_.functor.label == Normalization::softmax;
    if (normalization() == Normalization::none && !of_labels) return;
    OnlineSum<T> own, of_y;
    row_.template each<!kPicks>({true, of_labels, true},
                                [&](const Place& place, const T(&x)[kWidth], const T(&y)[kWidth]) {
                                  if (logits) {
                                    own.add(x);
                                  } else {
                                    T some = 0;
                                    FASTLOSS_UNROLL
                                    for (int i = 0; i < kWidth; ++i)
                                      some += i < place.count ? walk_.functor.clipped(x[i]) : T(0);
                                    own.sum += double(some);
                                  }
                                  if constexpr (!kPicks) {
                                    if (of_labels) of_y.add(y);
                                  }
                                });
    // Parts have no largest, and add up.
    const auto join = [](Online<T> x, Online<T> y) { return Online<T>::combine(x, y); };
    const Online<T> joined = group_.combine(own.result(), join);
    x_ = logits ? Normal<T>::of_logits(joined) : Normal<T>::of_probabilities(joined.sum);
    if constexpr (!kPicks) {
      if (of_labels) y_ = Normal<T>::of_logits(group_.combine(of_y.result(), join));
    }
  }

  __device__ __forceinline__ void store(const Place& place, const T (&x)[kWidth],
                                        T (&slope)[kWidth]) {
    if (walk_.softens && walk_.height != 0) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) slope[i] *= walk_.cap_slope(x[i]);
    }
    if (task_.skips) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) slope[i] = task_.fill;
    }
    row_.store(place, slope);
  }

  // The loss that looks at the label's class alone. Away from it the gradient is a multiple of the
  // shares.
  __device__ __forceinline__ T at_label(T x) {
    ClassProbability<T> share = {x, x};
    if (normalization() == Normalization::softmax) {
      share.z = (x - x_.shift) - x_.log_sum;
      share.p = exp(share.z);
    } else if (normalization() == Normalization::sum) {
      share.p = walk_.functor.clipped(x) * x_.factor;
    }
    Point<T> point = {T(0), T(0)};
    walk_.functor.open_picked([&](const auto& loss) { point = loss.at_label(share); });
    const T weight = walk_.class_weight && !task_.skips ? walk_.class_weight[task_.label] : T(1);
    if (walk_.gradient) slopes_of_pick(x, weight * point.slope);
    return weight * point.value;
  }

  __device__ __forceinline__ void slopes_of_pick(T label_x, T own) {
    const Normalization row = normalization();
    T patch = own * task_.scale, others = T(0);
    if (row == Normalization::softmax) {
      others = (z_slope_ - own) * task_.scale * x_.factor;
    } else if (row == Normalization::sum) {
      others = -patch / x_.sum;
      const bool inside = walk_.functor.clipped(label_x) == label_x;
      patch = own != 0 && inside ? patch / label_x : T(0) * own;
    }
    row_.template each<false>({row != Normalization::none, false, true},
                              [&](const Place& place, const T(&x)[kWidth], const T(&)[kWidth]) {
                                T slope[kWidth];
                                if (row == Normalization::softmax) {
                                  FASTLOSS_UNROLL
                                  for (int i = 0; i < kWidth; ++i)
                                    slope[i] = detail::exp_flushed(x[i] - x_.shift) * others;
                                } else {
                                  FASTLOSS_UNROLL
                                  for (int i = 0; i < kWidth; ++i)
                                    slope[i] = walk_.functor.clipped(x[i]) == x[i] ? others
                                                                                   : T(0) * others;
                                }
                                add_patch(place, patch, slope);
                                store(place, x, slope);
                              });
  }

  __device__ __forceinline__ void add_patch(const Place& place, T patch, T (&slope)[kWidth]) const {
    const int index = place.index_of(task_.label);
    if (index < 0) return;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i == index) slope[i] += patch;
  }

  template <class Loss>
  __device__ __forceinline__ ClassProbability<T> share_of_x(const Loss& loss, T x) const {
    if constexpr (Loss::kPrediction == Normalization::softmax)
      return x_.of_logit(x);
    else if constexpr (Loss::kPrediction == Normalization::sum)
      return {loss.clipped(x) * x_.factor, x};
    else
      return {x, x};
  }
  template <class Loss>
  __device__ __forceinline__ ClassProbability<T> share_of_y(T y) const {
    if constexpr (Loss::kLabel == Normalization::softmax)
      return y_.of_logit(y);
    else
      return {y, y};
  }

  // The loss of a row of labels.
  __device__ __forceinline__ T dense() {
    Sums<T> sums = collect();
    walk_.functor.open_dense([&](const auto& loss) { sums = loss.finalize(sums); });
    if (walk_.gradient) slopes_of_dense(sums);
    return sums.a;
  }

  __device__ __forceinline__ Sums<T> collect() {
    // Sums that add up do so in double: a long row is not one long chain of additions in T.
    const bool adds = walk_.functor.adds;
    Sums<T> own = categorical_hinge<T>::identity();
    double a = -0.0, b = -0.0, c = -0.0;
    row_.template each<true>(
        {true, true, true}, [&](const Place& place, const T(&x)[kWidth], const T(&y)[kWidth]) {
          Sums<T> some = {T(0), T(0), T(0)};
          walk_.functor.open_dense([&](const auto& loss) {
            using Loss = std::decay_t<decltype(loss)>;
            some = Loss::identity();
            FASTLOSS_UNROLL
            for (int i = 0; i < kWidth; ++i)
              if (i < place.count)
                some = Loss::combine(
                    some, loss.accumulate(share_of_y<Loss>(y[i]), share_of_x(loss, x[i])));
          });
          a += double(some.a);
          if (adds)
            b += double(some.b), c += double(some.c);
          else
            own = categorical_hinge<T>::combine(own, some);
        });
    own.a = T(a);
    if (adds) own.b = T(b), own.c = T(c);
    return group_.combine(own, [&](Sums<T> x, Sums<T> y) {
      return adds ? RowwiseLoss<T>::combine(x, y) : categorical_hinge<T>::combine(x, y);
    });
  }

  __device__ __forceinline__ void slopes_of_dense(const Sums<T>& sums) {
    const T scale = normalization() == Normalization::sum ? task_.scale / x_.sum : task_.scale;
    row_.template each<true>({true, true, true},
                             [&](const Place& place, const T(&x)[kWidth], const T(&y)[kWidth]) {
                               T slope[kWidth];
                               FASTLOSS_UNROLL
                               for (int i = 0; i < kWidth; ++i) slope[i] = T(0);
                               walk_.functor.open_dense([&](const auto& loss) {
                                 using Loss = std::decay_t<decltype(loss)>;
                                 FASTLOSS_UNROLL
                                 for (int i = 0; i < kWidth; ++i) {
                                   const ClassProbability<T> share = share_of_x(loss, x[i]);
                                   slope[i] = loss.gradient(share_of_y<Loss>(y[i]), share, sums);
                                   if constexpr (Loss::kPrediction == Normalization::softmax)
                                     slope[i] += z_slope_ * share.p;
                                   slope[i] *= scale;
                                 }
                               });
                               store(place, x, slope);
                             });
  }

  const RowWalk<T>& walk_;
  const RowTask<T>& task_;
  Row_& row_;
  const Group& group_;
  Normal<T> x_ = {}, y_ = {};
  T z_slope_ = 0;
};

// What a row leaves beside its gradient; `speaks` says for which thread. Returns what it adds to
// the loss of all.
template <class T>
__device__ __forceinline__ double put_result(const RowWalk<T>& walk, const RowTask<T>& task,
                                             const RowResult<T>& result, bool speaks) {
  if (!speaks) return 0;
  if (walk.loss) walk.loss[task.row] = result.loss;
  if (walk.log_sum_exp) walk.log_sum_exp[task.row] = result.log_sum_exp;
  if (walk.hit) walk.hit[task.row] = result.hit;
  return double(result.loss);
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
