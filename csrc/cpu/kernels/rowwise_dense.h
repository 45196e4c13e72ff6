// The loops of losses whose labels are rows.
#pragma once

#include "cpu/kernels/row_lanes.h"
#include "cpu/kernels/rowwise.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <Normalization kRow, bool kInterleaved, class Clipped, class T>
FASTLOSS_INLINE ClassProbability<T> probability(const Clipped& clipped, T x, const T* exps,
                                                const RowNormalizer<T>& row, int64_t i, int64_t k) {
  if constexpr (kRow == Normalization::softmax)
    return {exps[i] * at<kInterleaved>(row.factor, k),
            (x - at<kInterleaved>(row.shift, k)) - at<kInterleaved>(row.log_sum, k)};
  else if constexpr (kRow == Normalization::sum)
    return {clipped(x) * at<kInterleaved>(row.factor, k), x};
  else
    return {x, x};
}

template <class Loss, bool kInterleaved, class T>
struct Classes {
  const Loss& loss;
  const T* __restrict label, * __restrict label_exps, * __restrict prediction, * __restrict exps;
  Classes(const Loss& loss, const RowBlock<T>& block)
      : loss(loss),
        label(block.label),
        label_exps(block.label_exps),
        prediction(block.prediction),
        exps(block.prediction_exps) {}
  FASTLOSS_INLINE ClassProbability<T> y(const RowState<T>& row, int64_t i, int64_t k) const {
    const auto same = [](T x) { return x; };
    return probability<Loss::kLabel, kInterleaved>(same, label[i], label_exps, row.label, i, k);
  }
  FASTLOSS_INLINE ClassProbability<T> x(const RowState<T>& row, int64_t i, int64_t k) const {
    const auto clipped = [this](T x) { return loss.clipped(x); };
    return probability<Loss::kPrediction, kInterleaved>(clipped, prediction[i], exps,
                                                        row.prediction, i, k);
  }
};

template <class Loss, class T>
void identity(Lanes<T>* sums) {
  for (int64_t k = 0; k < kWidth; ++k) {
    const RowSums<T> start = Loss::identity();
    sums[0].lane[k] = start.a, sums[1].lane[k] = start.b, sums[2].lane[k] = start.c;
  }
}

template <class Loss, class T>
FASTLOSS_INLINE void combine_lane(Lanes<T>* to, int64_t k, const Lanes<T>* from, int64_t j) {
  const RowSums<T> sum = Loss::combine({to[0].lane[k], to[1].lane[k], to[2].lane[k]},
                                       {from[0].lane[j], from[1].lane[j], from[2].lane[j]});
  to[0].lane[k] = sum.a, to[1].lane[k] = sum.b, to[2].lane[k] = sum.c;
}

template <class Loss, bool kInterleaved, class T>
void accumulate_lanes(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                      Lanes<T>* sums) {
  const Loss loss(parameters);
  const Classes<Loss, kInterleaved, T> classes(loss, block);
  for (int64_t begin = 0; begin < block.size; begin += kSteps) {
    const int64_t end = begin + kSteps < block.size ? begin + kSteps : block.size;
    Lanes<T> some[3];
    identity<Loss, T>(some);
    for (int64_t i = begin; i < end; i += kWidth) {
      // A loop of its own: combined at once, the sums would keep the terms from being vectorised.
      Lanes<T> terms[3];
      for (int64_t k = 0; k < kWidth; ++k) {
        const RowSums<T> term = loss.accumulate(classes.y(row, i + k, k), classes.x(row, i + k, k));
        terms[0].lane[k] = term.a, terms[1].lane[k] = term.b, terms[2].lane[k] = term.c;
      }
      for (int64_t k = 0; k < kWidth; ++k) combine_lane<Loss, T>(some, k, terms, k);
    }
    for (int64_t k = 0; k < kWidth; ++k) combine_lane<Loss, T>(sums, k, some, k);
  }
}

template <class Loss, class T>
void accumulate(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                bool interleaved, Lanes<T>* sums) {
  interleaved ? accumulate_lanes<Loss, true, T>(parameters, block, row, sums)
              : accumulate_lanes<Loss, false, T>(parameters, block, row, sums);
}

template <class Loss, class T>
void combine(Lanes<T>* sums) {
  for (int64_t width = kWidth / 2; width > 0; width /= 2)
    for (int64_t k = 0; k < width; ++k) combine_lane<Loss, T>(sums, k, sums, k + width);
}

template <class Loss, class T>
void combine_two(const T* x, T* sum) {
  const RowSums<T> combined = Loss::combine({sum[0], sum[1], sum[2]}, {x[0], x[1], x[2]});
  sum[0] = combined.a, sum[1] = combined.b, sum[2] = combined.c;
}

template <class Loss, class T>
void finalize(const double* parameters, Lanes<T>* sums) {
  const Loss loss(parameters);
  for (int64_t k = 0; k < kWidth; ++k) {
    const RowSums<T> row = loss.finalize({sums[0].lane[k], sums[1].lane[k], sums[2].lane[k]});
    sums[0].lane[k] = row.a, sums[1].lane[k] = row.b, sums[2].lane[k] = row.c;
  }
}

template <class Loss, bool kInterleaved, class T>
void gradient_lanes(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                    T* __restrict gradient) {
  const Loss loss(parameters);
  const Classes<Loss, kInterleaved, T> classes(loss, block);
  for (int64_t i = 0; i < block.size; i += kWidth) {
    for (int64_t k = 0; k < kWidth; ++k) {
      const ClassProbability<T> x = classes.x(row, i + k, k);
      const RowSums<T> sums = {T(0), at<kInterleaved>(row.b, k), at<kInterleaved>(row.c, k)};
      T slope = loss.gradient(classes.y(row, i + k, k), x, sums);
      if constexpr (Loss::kPrediction == Normalization::softmax)
        slope += at<kInterleaved>(row.z_loss_slope, k) * x.p;
      gradient[i + k] = slope * at<kInterleaved>(row.scale, k);
    }
  }
}

template <class Loss, class T>
void dense_gradients(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                     bool interleaved, T* gradient) {
  interleaved ? gradient_lanes<Loss, true, T>(parameters, block, row, gradient)
              : gradient_lanes<Loss, false, T>(parameters, block, row, gradient);
}

template <class Loss, class T>
DenseLoops<T> dense_loops() {
  if constexpr (__is_same(Loss, void))
    return {};
  else
    return {Loss::pad_label(), Loss::pad_prediction(), identity<Loss, T>, accumulate<Loss, T>,
            combine<Loss, T>,  combine_two<Loss, T>,   finalize<Loss, T>, dense_gradients<Loss, T>};
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
