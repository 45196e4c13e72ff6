// From the sums of the overlap pattern to its losses and to what the gradient is made of.
#pragma once

#include <cstring>

#include "api/fastloss_cuda.h"
#include "api/overlap_call.h"
#include "cuda/common/broadcast_weights.h"
#include "cuda/common/reduction.h"

namespace fastloss {
namespace FASTLOSS_ISA {

#define FASTLOSS_ID(NAME, ...) NAME,
enum class OverlapLossId : int32_t { FASTLOSS_OVERLAP_LOSSES(FASTLOSS_ID) };
#undef FASTLOSS_ID

struct BoxedOverlap {
  OverlapLossId loss;
  alignas(8) unsigned char functor[5 * sizeof(double)];

  BoxedOverlap() = default;
  BoxedOverlap(const char* name, const double* parameters) {
#define FASTLOSS_BOX(NAME, ...)                                                        \
  if (!std::strcmp(name, #NAME)) {                                                     \
    static_assert(sizeof(NAME) <= sizeof(functor), "a loss has at most five numbers"); \
    const NAME made(parameters);                                                       \
    loss = OverlapLossId::NAME;                                                        \
    std::memcpy(functor, &made, sizeof(made));                                         \
  }
    FASTLOSS_OVERLAP_LOSSES(FASTLOSS_BOX)
#undef FASTLOSS_BOX
  }
};

template <class T>
struct OverlapGroups {
  BoxedOverlap loss;
  bool together, per_class, each;  // each: a loss for each group
  int64_t images, classes, first_class, groups_of_image;
  int64_t pieces;          // of an image
  const double* partials;  // (images, classes, 3, pieces)
  OverlapSums* sums;       // (images, classes)
  int64_t positions;       // of an image; below 0: those that `values` counts
  GroupLoss* points;       // likewise
  double* class_factors;   // likewise, of a loss of all classes together
  const T* class_weight;   // or null
  double* class_weight_double;
  Cycle<T> weight;     // of groups, or without data
  Pieces groups;       // as blocks take them
  double* group_sums;  // of weighted losses, (groups.count,)
  T* losses;           // of each group
  // The conclusion.
  int32_t fused_terms;
  int64_t units;
  const double* values;  // (fused_terms and how many positions count, units)
  double count;          // of what a fused_term's mean is taken; below 0: that of `values`
  bool mean;
  double replicas, factor;
  double of_fused_term[FASTLOSS_CUDA_MAX_TERMS];
  Inverse inverse;
  double* scales;  // (1 + fused_terms,)
  T* total;        // the loss of all groups, or null
  T* term_values;  // or null

  // The table of sums as numbers, four a class.
  FASTLOSS_INLINE int64_t sum_count() const { return images * classes * 4; }
  FASTLOSS_INLINE double& sum_at(int64_t i) const { return reinterpret_cast<double*>(sums)[i]; }
  // What a sum's pieces are; null for a number of positions that is known.
  FASTLOSS_INLINE const double* pieces_of(int64_t i) const {
    const int64_t field = i % 4, of_class = i / 4;
    if (field < 3) return partials + (3 * of_class + field) * pieces;
    if (positions >= 0) return nullptr;
    return values + fused_terms * units + of_class / classes * pieces;
  }
};

template <class T>
int launch_overlap_groups(const OverlapGroups<T>& groups, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
