#include <algorithm>

#include "cuda/common/reduce.h"
#include "cuda/overlap/groups.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int64_t kMaxBlocks = int64_t(1) << 20;
// Up to so many pieces of a sum are added up by a thread, more of them by a block.
constexpr int64_t kFewPieces = 32;

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_pieces(const __grid_constant__ OverlapGroups<T> groups) {
  if (groups.class_weight)
    for (int64_t c = int64_t(blockIdx.x) * kThreads + threadIdx.x; c < groups.classes;
         c += int64_t(gridDim.x) * kThreads)
      groups.class_weight_double[c] = double(groups.class_weight[c]);
  const int64_t pieces = groups.pieces;
  if (pieces <= kFewPieces) {
    for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < groups.sum_count();
         i += int64_t(gridDim.x) * kThreads) {
      const double* const of_pieces = groups.pieces_of(i);
      double sum = 0;
      if (of_pieces)
        for (int64_t k = 0; k < pieces; ++k) sum += of_pieces[k];
      else
        sum = double(groups.positions);
      groups.sum_at(i) = sum;
    }
    return;
  }
  for (int64_t i = blockIdx.x; i < groups.sum_count(); i += gridDim.x) {
    const double* const of_pieces = groups.pieces_of(i);
    const double sum = of_pieces ? block_sum_of(of_pieces, pieces) : double(groups.positions);
    if (threadIdx.x == 0) groups.sum_at(i) = sum;
  }
}

__device__ __forceinline__ GroupLoss evaluate_alone(const TaggedOverlapLoss& loss,
                                                    OverlapSums sums) {
#define FASTLOSS_CALL_alone(NAME) return (*reinterpret_cast<const NAME*>(loss.functor))(sums);
#define FASTLOSS_CALL_together(NAME) break;
#define FASTLOSS_CALL(NAME, CLASSES, ...) \
  case OverlapLossId::NAME:               \
    FASTLOSS_CALL_##CLASSES(NAME)
  switch (loss.loss) { FASTLOSS_OVERLAP_LOSSES(FASTLOSS_CALL) }
#undef FASTLOSS_CALL_alone
#undef FASTLOSS_CALL_together
  return {0, 0, 0};
}

__device__ __forceinline__ GroupLoss evaluate_together(const TaggedOverlapLoss& loss,
                                                       const OverlapSums* sums,
                                                       const double* class_weight, int64_t classes,
                                                       double* class_factors) {
#define FASTLOSS_CALL_alone(NAME) break;
#define FASTLOSS_CALL_together(NAME) \
  return (*reinterpret_cast<const NAME*>(loss.functor))(sums, class_weight, classes, class_factors);
  switch (loss.loss) { FASTLOSS_OVERLAP_LOSSES(FASTLOSS_CALL) }
#undef FASTLOSS_CALL_alone
#undef FASTLOSS_CALL_together
#undef FASTLOSS_CALL
  return {0, 0, 0};
}

__device__ __forceinline__ GroupLoss scaled(const GroupLoss& loss, double factor) {
  return {loss.value * factor, loss.d_intersection * factor, loss.d_prediction * factor};
}

// The loss of one group; stores the derivatives by the sums of its classes.
template <class T>
__device__ __forceinline__ double evaluate_group(const OverlapGroups<T>& groups, int64_t group) {
  const int64_t first = groups.first_class, classes = groups.classes;
  const int64_t image = groups.per_class ? group / groups.groups_of_image : group;
  const OverlapSums* const sums = groups.sums + image * classes;
  GroupLoss* const derivatives = groups.derivatives + image * classes;
  const double* const class_weight = groups.class_weight ? groups.class_weight_double : nullptr;
  if (groups.together) {
    double* const factors = groups.class_factors + image * classes;
    const GroupLoss loss =
        evaluate_together(groups.loss, sums + first, class_weight ? class_weight + first : nullptr,
                          classes - first, factors + first);
    for (int64_t c = first; c < classes; ++c) derivatives[c] = scaled(loss, factors[c]);
    return loss.value;
  }
  if (groups.per_class) {
    const int64_t c = group - image * groups.groups_of_image + first;
    const GroupLoss loss =
        scaled(evaluate_alone(groups.loss, sums[c]), class_weight ? class_weight[c] : 1.0);
    derivatives[c] = loss;
    return loss.value;
  }
  OverlapSums all = {};
  for (int64_t c = first; c < classes; ++c) {
    all.intersection += sums[c].intersection;
    all.prediction += sums[c].prediction;
    all.label += sums[c].label;
    all.positions += sums[c].positions;
  }
  const GroupLoss loss = evaluate_alone(groups.loss, all);
  for (int64_t c = first; c < classes; ++c) derivatives[c] = loss;
  return loss.value;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    evaluate_groups(const __grid_constant__ OverlapGroups<T> groups) {
  double sum = 0;
  const int64_t end = groups.groups.end(blockIdx.x);
  for (int64_t group = groups.groups.begin(blockIdx.x) + threadIdx.x; group < end;
       group += kThreads) {
    double value = evaluate_group(groups, group);
    if (groups.weight.data) {
      T weight = 1;
      groups.weight.template multiply<1>(group, &weight);
      value *= double(weight);
    }
    if (groups.losses) groups.losses[group] = T(value);
    sum += value;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) groups.group_sums[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    finalize(const __grid_constant__ OverlapGroups<T> groups) {
  const double reduction = groups.inverse(1);
  double total = block_sum_of(groups.group_sums, groups.groups.count) * reduction;
  if (threadIdx.x == 0 && groups.term_values) groups.term_values[0] = T(total);
  total *= groups.factor;
  if (threadIdx.x == 0) groups.scales[0] = reduction * groups.factor;
  double inverse_count = 1;
  if (groups.mean && groups.fused_terms) {
    const double count =
        groups.count < 0
            ? block_sum_of(groups.values + groups.fused_terms * groups.units, groups.units)
            : groups.count;
    inverse_count = count == 0 ? 0 : 1 / (count * groups.replicas);
  }
  for (int32_t k = 0; k < groups.fused_terms; ++k) {
    const double value =
        block_sum_of(groups.values + k * groups.units, groups.units) * inverse_count;
    total += groups.fused_term_scale[k] * value;
    if (threadIdx.x) continue;
    if (groups.term_values) groups.term_values[1 + k] = T(value);
    groups.scales[1 + k] = groups.fused_term_scale[k] * inverse_count;
  }
  if (threadIdx.x == 0 && groups.total) *groups.total = T(total);
}

}  // namespace

template <class T>
int launch_overlap_groups(const OverlapGroups<T>& groups, void* stream) {
  const int64_t sums = groups.sum_count();
  const int64_t blocks = groups.pieces <= kFewPieces ? ceil_div(sums, kThreads) : sums;
  if (sums && launch(add_pieces<T>, std::min(blocks, kMaxBlocks), kThreads, 0, stream, groups))
    return -1;
  if (groups.groups.count &&
      launch(evaluate_groups<T>, groups.groups.count, kThreads, 0, stream, groups))
    return -1;
  return launch(finalize<T>, 1, kThreads, 0, stream, groups);
}

template int launch_overlap_groups(const OverlapGroups<float>&, void*);
template int launch_overlap_groups(const OverlapGroups<double>&, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
