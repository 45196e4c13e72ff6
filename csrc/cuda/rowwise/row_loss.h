// The loss and gradient of one row, whichever way its classes are stored.
//
// A `Row` gives access to the classes: for_each<kLabels>(reads, visit) calls visit(slice, x, y) for
// every vector of them, equally often in each thread; at(c) is a prediction as it is in memory;
// store() takes the gradient of a vector.
#pragma once

#include "cuda/rowwise/row_group.h"
#include "cuda/rowwise/row_pass.h"
#include "cuda/rowwise/row_sums.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// What for_each reads: predictions, labels, and whether it prepares them for the loss.
struct Reads {
  bool x, y, prepared;
};

template <class T>
struct RowResult {
  T loss, log_sum_exp;
  bool hit;
};

// kAtLabel: the loss depends on the label's class alone.
template <bool kAtLabel, class T, class Row, class Group>
class RowLoss {
 public:
  static constexpr int kWidth = Row::kWidth;

  __device__ __forceinline__ RowLoss(const RowPass<T>& pass, const RowTask<T>& task, Row& row,
                                     const Group& group)
      : pass_(pass), task_(task), row_(row), group_(group) {}

  __device__ __forceinline__ RowResult<T> compute() {
    RowResult<T> result = {T(0), T(0), false};
    if (pass_.hit) result.hit = is_hit() && !task_.skips;
    const T label_x = kAtLabel ? label_prediction() : T(0);
    normalize();
    if (pass_.functor.prediction == Normalization::softmax)
      result.log_sum_exp = x_.shift + x_.log_sum;
    // The derivative of z_loss * lse^2 by lse.
    z_slope_ = T(2) * pass_.z_loss * result.log_sum_exp;
    if constexpr (kAtLabel)
      result.loss = evaluate_at_label(label_x);
    else
      result.loss = evaluate_dense();
    if (pass_.z_loss != 0) result.loss += pass_.z_loss * result.log_sum_exp * result.log_sum_exp;
    result.loss *= task_.weight;
    if (task_.skips) result.loss = result.log_sum_exp = task_.fill;
    return result;
  }

 private:
  __device__ __forceinline__ Normalization normalization() const {
    return pass_.functor.prediction;
  }

  // Whether the first of the largest predictions is at the first of the largest labels.
  __device__ __forceinline__ bool is_hit() {
    const Largest<T> nothing = {pass_.classes, -Format<T>::kInfinity};
    Largest<T> largest_x = nothing, largest_y = nothing;
    row_.template for_each<!kAtLabel>(
        {true, !pass_.sparse, false},
        [&](const ClassSlice& slice, const T(&x)[kWidth], const T(&y)[kWidth]) {
          const auto index_of = [&](int i) { return slice.at(i); };
          largest_x.add(x, slice.count, index_of);
          if constexpr (!kAtLabel) largest_y.add(y, slice.count, index_of);
        });
    const auto combine = [](Largest<T> x, Largest<T> y) { return Largest<T>::combine(x, y); };
    int64_t expected = task_.label;
    if constexpr (!kAtLabel) {
      if (!pass_.sparse) expected = group_.combine(largest_y, combine).index;
    }
    return group_.combine(largest_x, combine).index == expected;
  }

  // The label's prediction, read before any thread writes the gradient, which may be in place.
  // Where no normalization follows, combining anything is the barrier between the two.
  __device__ __forceinline__ T label_prediction() {
    T x = row_.at(task_.label);
    if (normalization() == Normalization::none)
      x = group_.combine(x, [](T same, T) { return same; });
    return pass_.scales_logits ? pass_.scale_logit(x) : x;
  }

  // Computes the softmax or the sum of the predictions, and the softmax of the labels.
  __device__ __forceinline__ void normalize() {
    const bool logits = normalization() == Normalization::softmax;
    const bool label_logits = !kAtLabel && pass_.functor.label == Normalization::softmax;
    if (normalization() == Normalization::none && !label_logits) return;
    SoftmaxAccumulator<T> own_x, own_y;
    row_.template for_each<!kAtLabel>(
        {true, label_logits, true},
        [&](const ClassSlice& slice, const T(&x)[kWidth], const T(&y)[kWidth]) {
          if (logits) {
            own_x.add(x);
          } else {
            T vector_sum = 0;
            FASTLOSS_UNROLL
            for (int i = 0; i < kWidth; ++i)
              vector_sum += i < slice.count ? pass_.functor.clipped(x[i]) : T(0);
            own_x.sum += double(vector_sum);
          }
          if constexpr (!kAtLabel) {
            if (label_logits) own_y.add(y);
          }
        });
    // For probabilities `largest` stays as it is, so that their sums are just added.
    const auto combine = [](SoftmaxSums<T> x, SoftmaxSums<T> y) {
      return SoftmaxSums<T>::combine(x, y);
    };
    const SoftmaxSums<T> sums = group_.combine(own_x.result(), combine);
    x_ = logits ? Normalizer<T>::of_logits(sums) : Normalizer<T>::of_probabilities(sums.sum);
    if constexpr (!kAtLabel) {
      if (label_logits) y_ = Normalizer<T>::of_logits(group_.combine(own_y.result(), combine));
    }
  }

  __device__ __forceinline__ void store(const ClassSlice& slice, const T (&x)[kWidth],
                                        T (&slope)[kWidth]) {
    if (pass_.scales_logits && pass_.scaled_cap != 0) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) slope[i] *= pass_.cap_gradient(x[i]);
    }
    if (task_.skips) {
      FASTLOSS_UNROLL
      for (int i = 0; i < kWidth; ++i) slope[i] = task_.fill;
    }
    row_.store(slice, slope);
  }

  __device__ __forceinline__ T evaluate_at_label(T x) {
    ClassProbability<T> probability = {x, x};
    if (normalization() == Normalization::softmax) {
      probability.z = (x - x_.shift) - x_.log_sum;
      probability.p = exp(probability.z);
    } else if (normalization() == Normalization::sum) {
      probability.p = pass_.functor.clipped(x) * x_.factor;
    }
    Point<T> point = {T(0), T(0)};
    pass_.functor.visit_at_label([&](const auto& loss) { point = loss.at_label(probability); });
    const T weight = pass_.class_weight && !task_.skips ? pass_.class_weight[task_.label] : T(1);
    if (pass_.gradient) store_gradient_at_label(x, weight * point.slope);
    return weight * point.value;
  }

  // Apart from the label's class the gradient is a multiple of the probabilities of a softmax, or
  // of the clipping of probabilities.
  __device__ __forceinline__ void store_gradient_at_label(T label_x, T slope_at_label) {
    const Normalization normalization = this->normalization();
    T extra = slope_at_label * task_.scale, common = T(0);
    if (normalization == Normalization::softmax) {
      common = (z_slope_ - slope_at_label) * task_.scale * x_.factor;
    } else if (normalization == Normalization::sum) {
      common = -extra / x_.sum;
      const bool unclipped = pass_.functor.clipped(label_x) == label_x;
      extra = slope_at_label != 0 && unclipped ? extra / label_x : T(0) * slope_at_label;
    }
    row_.template for_each<false>(
        {normalization != Normalization::none, false, true},
        [&](const ClassSlice& slice, const T(&x)[kWidth], const T(&)[kWidth]) {
          T slope[kWidth];
          if (normalization == Normalization::softmax) {
            FASTLOSS_UNROLL
            for (int i = 0; i < kWidth; ++i)
              slope[i] = detail::exp_flushed(x[i] - x_.shift) * common;
          } else {
            FASTLOSS_UNROLL
            for (int i = 0; i < kWidth; ++i)
              slope[i] = pass_.functor.clipped(x[i]) == x[i] ? common : T(0) * common;
          }
          add_at_label(slice, extra, slope);
          store(slice, x, slope);
        });
  }

  __device__ __forceinline__ void add_at_label(const ClassSlice& slice, T extra,
                                               T (&slope)[kWidth]) const {
    const int index = slice.index_of(task_.label);
    if (index < 0) return;
    FASTLOSS_UNROLL
    for (int i = 0; i < kWidth; ++i)
      if (i == index) slope[i] += extra;
  }

  template <class Loss>
  __device__ __forceinline__ ClassProbability<T> probability_of_x(const Loss& loss, T x) const {
    if constexpr (Loss::kPrediction == Normalization::softmax)
      return x_.of_logit(x);
    else if constexpr (Loss::kPrediction == Normalization::sum)
      return {loss.clipped(x) * x_.factor, x};
    else
      return {x, x};
  }
  template <class Loss>
  __device__ __forceinline__ ClassProbability<T> probability_of_y(T y) const {
    if constexpr (Loss::kLabel == Normalization::softmax)
      return y_.of_logit(y);
    else
      return {y, y};
  }

  __device__ __forceinline__ T evaluate_dense() {
    RowSums<T> sums = accumulate_dense();
    pass_.functor.visit_dense([&](const auto& loss) { sums = loss.finalize(sums); });
    if (pass_.gradient) store_gradient_of_dense(sums);
    return sums.a;
  }

  __device__ __forceinline__ RowSums<T> accumulate_dense() {
    // Sums of vectors are added in double, as rounding errors in T would grow with the length of
    // the row. Which way sums are combined is looked up once a row, not once an exchange.
    const bool adds = pass_.functor.adds;
    RowSums<T> own = categorical_hinge<T>::identity();
    double a = -0.0, b = -0.0, c = -0.0;
    row_.template for_each<true>(
        {true, true, true}, [&](const ClassSlice& slice, const T(&x)[kWidth], const T(&y)[kWidth]) {
          RowSums<T> of_vector = {T(0), T(0), T(0)};
          pass_.functor.visit_dense([&](const auto& loss) {
            using Loss = std::decay_t<decltype(loss)>;
            of_vector = Loss::identity();
            FASTLOSS_UNROLL
            for (int i = 0; i < kWidth; ++i)
              if (i < slice.count)
                of_vector = Loss::combine(of_vector, loss.accumulate(probability_of_y<Loss>(y[i]),
                                                                     probability_of_x(loss, x[i])));
          });
          a += double(of_vector.a);
          if (adds)
            b += double(of_vector.b), c += double(of_vector.c);
          else
            own = categorical_hinge<T>::combine(own, of_vector);
        });
    own.a = T(a);
    if (adds) own.b = T(b), own.c = T(c);
    return group_.combine(own, [&](RowSums<T> x, RowSums<T> y) {
      return adds ? RowwiseLoss<T>::combine(x, y) : categorical_hinge<T>::combine(x, y);
    });
  }

  __device__ __forceinline__ void store_gradient_of_dense(const RowSums<T>& sums) {
    const T scale = normalization() == Normalization::sum ? task_.scale / x_.sum : task_.scale;
    row_.template for_each<true>(
        {true, true, true}, [&](const ClassSlice& slice, const T(&x)[kWidth], const T(&y)[kWidth]) {
          T slope[kWidth];
          FASTLOSS_UNROLL
          for (int i = 0; i < kWidth; ++i) slope[i] = T(0);
          pass_.functor.visit_dense([&](const auto& loss) {
            using Loss = std::decay_t<decltype(loss)>;
            FASTLOSS_UNROLL
            for (int i = 0; i < kWidth; ++i) {
              const ClassProbability<T> probability = probability_of_x(loss, x[i]);
              slope[i] = loss.gradient(probability_of_y<Loss>(y[i]), probability, sums);
              if constexpr (Loss::kPrediction == Normalization::softmax)
                slope[i] += z_slope_ * probability.p;
              slope[i] *= scale;
            }
          });
          store(slice, x, slope);
        });
  }

  const RowPass<T>& pass_;
  const RowTask<T>& task_;
  Row& row_;
  const Group& group_;
  Normalizer<T> x_ = {}, y_ = {};
  T z_slope_ = 0;
};

// Writes the outputs of a row beside its gradient, in the thread that `writes`; returns what the
// row adds to the sum of all losses there, 0 in others.
template <class T>
__device__ __forceinline__ double write_result(const RowPass<T>& pass, const RowTask<T>& task,
                                               const RowResult<T>& result, bool writes) {
  if (!writes) return 0;
  if (pass.loss) pass.loss[task.row] = result.loss;
  if (pass.log_sum_exp) pass.log_sum_exp[task.row] = result.log_sum_exp;
  if (pass.hit) pass.hit[task.row] = result.hit;
  return double(result.loss);
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
