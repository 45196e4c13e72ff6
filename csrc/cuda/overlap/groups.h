// From the sums of each class to the losses of the groups, and to their derivatives by the sums.
#pragma once

#include <cstring>

#include "api/fastloss_cuda.h"
#include "api/overlap_call.h"
#include "cuda/common/broadcast_weights.h"
#include "cuda/common/divisor.h"

namespace fastloss {
namespace FASTLOSS_ISA {

#define FASTLOSS_ID(NAME, ...) NAME,
enum class OverlapLossId : int32_t { FASTLOSS_OVERLAP_LOSSES(FASTLOSS_ID) };
#undef FASTLOSS_ID

// Numbers in OverlapSums, the last of which is the count of positions.
constexpr int64_t kOverlapSums = sizeof(OverlapSums) / sizeof(double);

// An overlap loss as a tagged functor, so that one kernel serves all losses.
struct TaggedOverlapLoss {
  OverlapLossId loss;
  alignas(8) unsigned char functor[5 * sizeof(double)];

  TaggedOverlapLoss() = default;
  TaggedOverlapLoss(const char* name, const double* parameters) {
#define FASTLOSS_TAG(NAME, ...)                                                        \
  if (!std::strcmp(name, #NAME)) {                                                     \
    static_assert(sizeof(NAME) <= sizeof(functor), "a loss has at most five numbers"); \
    const NAME made(parameters);                                                       \
    loss = OverlapLossId::NAME;                                                        \
    std::memcpy(functor, &made, sizeof(made));                                         \
  }
    FASTLOSS_OVERLAP_LOSSES(FASTLOSS_TAG)
#undef FASTLOSS_TAG
  }
};

template <class T>
struct OverlapGroups {
  TaggedOverlapLoss loss;
  bool together;   // the loss is one of all classes of a group together
  bool per_class;  // each class is a group
  int64_t images, classes, first_class, groups_of_image;
  int64_t pieces;          // of an image
  const double* partials;  // (images, classes, 3, pieces)
  OverlapSums* sums;       // (images, classes)
  int64_t positions;       // of an image; negative: their counts are in `values`
  GroupLoss* derivatives;  // (images, classes)
  double* class_factors;   // (images, classes), for a loss of all classes together
  const T* class_weight;   // or null
  double* class_weight_double;
  BroadcastWeights<T> weight;  // of groups, or without data
  Pieces groups;
  double* group_sums;  // (groups.count,): of weighted losses
  T* losses;           // of each group, or null
  // For the total:
  int32_t fused_terms;
  int64_t units;
  const double* values;  // (fused terms and the count of positions, units)
  double count;          // divides the fused terms for a mean; negative: it is in `values`
  bool mean;
  double replicas, factor;
  double fused_term_scale[FASTLOSS_CUDA_MAX_TERMS];
  Inverse inverse;
  double* scales;  // (1 + fused_terms,)
  T* total;        // or null
  T* term_values;  // or null

  // The table of sums as an array of numbers.
  FASTLOSS_INLINE int64_t sum_count() const { return images * classes * kOverlapSums; }
  FASTLOSS_INLINE double& sum_at(int64_t i) const { return reinterpret_cast<double*>(sums)[i]; }
  // The pieces of sum i, or null for a number of positions that is known.
  FASTLOSS_INLINE const double* pieces_of(int64_t i) const {
    const int64_t table_index = i / kOverlapSums, field = i % kOverlapSums;
    if (field < 3) return partials + (3 * table_index + field) * pieces;
    if (positions >= 0) return nullptr;
    return values + fused_terms * units + table_index / classes * pieces;
  }
};

template <class T>
int launch_overlap_groups(const OverlapGroups<T>& groups, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
