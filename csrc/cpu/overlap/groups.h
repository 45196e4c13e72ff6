// From the sums to the losses of the groups, their reduction, and its derivatives by the sums.
#pragma once

#include <vector>

#include "api/overlap_call.h"
#include "cpu/overlap/sums.h"
#include "cpu/runtime/broadcast_weights.h"

namespace fastloss {

// The derivatives of the call's loss, times the upstream gradient.
template <class T>
struct LossDerivatives {
  std::vector<OverlapDerivatives> by_sums;  // (images, classes)
  std::vector<T> by_fused_terms;            // by the loss of one element or row

  // Fills in the derivatives by the sums for each element of a period of a segment.
  void spread(const OverlapLayout& layout, int64_t segment, T* by_intersection,
              T* by_prediction) const;
};

template <class T>
class GroupLosses {
 public:
  GroupLosses(const OverlapPlan<T>& plan, const TensorSums& sums);

  // The loss of the call. Fills in `losses`, one a group, and `term_values`, unless they are null.
  double reduce(T* losses, T* term_values) const;

  // `upstream` is null, or one number a group for FASTLOSS_NONE, else one number.
  LossDerivatives<T> derivatives(const T* upstream) const;

 private:
  int64_t groups_per_image() const;
  void evaluate_together(const OverlapSums* sums, GroupLoss* of_classes, double* value) const;
  void evaluate_each_class(const OverlapSums* sums, GroupLoss* of_classes, double* values) const;
  void evaluate_all_classes(const OverlapSums* sums, GroupLoss* of_classes, double* value) const;
  double weight_of(int64_t group) const;
  double reduction_factor() const;
  double fused_term_factor() const;

  const OverlapPlan<T>& plan_;
  const OverlapLoss& loss_;
  const int64_t first_class_;  // those before have no part in a group
  const TensorSums& sums_;
  std::vector<double> values_;         // (groups,)
  std::vector<GroupLoss> of_classes_;  // (images, classes): of the group that a class belongs to
  const BroadcastWeights<T> weight_;
};

}  // namespace fastloss
