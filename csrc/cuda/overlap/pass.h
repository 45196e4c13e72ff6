// The passes of the overlap pattern: their parameters.
#pragma once

#include "cuda/common/broadcast_weights.h"
#include "cuda/common/dtypes.h"
#include "cuda/overlap/layout.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Cases with kernels of their own.
enum class OverlapCase {
  independent,        // dense labels, each prediction by itself
  independent_fused,  // the same, with elementwise losses as fused terms
  class_labels,       // positions whose labels are classes
  label_rows          // positions with a row of labels each
};

constexpr bool is_dense(OverlapCase which) { return which != OverlapCase::class_labels; }
constexpr bool is_by_position(OverlapCase which) {
  return which == OverlapCase::class_labels || which == OverlapCase::label_rows;
}

template <class T>
struct OverlapPass {
  OverlapLayout layout;
  bool squared, has_ignore_class, per_class;
  int32_t activation, first_class;
  int64_t ignore_class, groups_of_image;
  int32_t y_true_dtype, y_true_size, y_pred_dtype;
  const void* y_true;
  const void* y_pred;
  char* workspace;   // of wide tiles
  double* partials;  // (images, classes, 3, pieces)
  double* values;    // (fused terms and the count of positions, images, pieces), or null
  // Only for the gradient:
  void* gradient;                // or null for the sums
  const GroupLoss* derivatives;  // (images, classes)
  const double* scales;          // of the regions, then of each fused term
  BroadcastWeights<T> weight;    // of groups, or without data
  const T* upstream;             // of a scalar loss, or null
  const T* upstream_of_group;    // of the losses of groups, or null
};

// Computes the gradient if the pass has one, otherwise the sums.
template <int kSize>
int launch_overlap_pass(const fastloss_overlap& call,
                        const OverlapPass<typename Predictions<kSize>::T>& pass, void* stream);
template <>
int launch_overlap_pass<2>(const fastloss_overlap&, const OverlapPass<float>&, void*);
template <>
int launch_overlap_pass<4>(const fastloss_overlap&, const OverlapPass<float>&, void*);
template <>
int launch_overlap_pass<8>(const fastloss_overlap&, const OverlapPass<double>&, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
