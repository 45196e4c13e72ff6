// The loops of losses whose labels are classes.
#pragma once

#include "cpu/kernels/row_lanes.h"
#include "cpu/kernels/rowwise.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class Loss, class T>
void at_label(const double* parameters, const Lanes<T>& p, const Lanes<T>& z, Lanes<T>* value,
              Lanes<T>* slope) {
  const Loss loss(parameters);
  for (int64_t k = 0; k < kWidth; ++k) {
    const Point<T> point = loss.at_label({p.lane[k], z.lane[k]});
    value->lane[k] = point.value;
    slope->lane[k] = point.slope;
  }
}

template <class Loss, bool kInterleaved, class T>
void sparse_gradient_lanes(const double* parameters, const RowBlock<T>& block,
                           const Lanes<T>& scale, T* __restrict gradient) {
  const Loss loss(parameters);
  const T* __restrict prediction = block.prediction;
  const T* __restrict exps = block.prediction_exps;
  for (int64_t i = 0; i < block.size; i += kWidth) {
    for (int64_t k = 0; k < kWidth; ++k) {
      const T factor = at<kInterleaved>(scale, k);
      if constexpr (Loss::kPrediction == Normalization::softmax) {
        gradient[i + k] = exps[i + k] * factor;
      } else if constexpr (Loss::kPrediction == Normalization::sum) {
        const T x = prediction[i + k];
        gradient[i + k] = loss.clipped(x) == x ? factor : T(0) * factor;
      } else {
        gradient[i + k] = T(0);
      }
    }
  }
}

template <class Loss, class T>
void sparse_gradients(const double* parameters, const RowBlock<T>& block, const Lanes<T>& scale,
                      bool interleaved, T* gradient) {
  interleaved ? sparse_gradient_lanes<Loss, true, T>(parameters, block, scale, gradient)
              : sparse_gradient_lanes<Loss, false, T>(parameters, block, scale, gradient);
}

// The hinge has none: it looks at all classes whatever the label.
template <class Loss, class T, class = void>
struct LoopsAtLabel {
  static SparseLoops<T> loops() { return {}; }
};
template <class Loss, class T>
struct LoopsAtLabel<Loss, T, decltype(void(&Loss::at_label))> {
  static SparseLoops<T> loops() { return {at_label<Loss, T>, sparse_gradients<Loss, T>}; }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
