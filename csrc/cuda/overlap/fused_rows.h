// Rowwise losses as fused terms: they are evaluated on the softmax that the overlap loss takes.
#pragma once

#include <cstring>

#include "api/fastloss_cuda.h"
#include "api/overlap_call.h"
#include "cuda/common/reduce.h"
#include "cuda/common/specialization.h"

namespace fastloss {
namespace FASTLOSS_ISA {

#define FASTLOSS_SPARSE_dense false
#define FASTLOSS_SPARSE_sparse true
#define FASTLOSS_ID(NAME, ...) NAME,
enum class RowLossId : int32_t { FASTLOSS_ROWWISE_LOSSES(FASTLOSS_ID) };
#undef FASTLOSS_ID

// A rowwise loss that can be fused, as a tagged functor.
template <class T>
struct FusedRowLoss {
  RowLossId loss;
  bool specialized;
  alignas(8) unsigned char functor[4 * sizeof(T)];

  FusedRowLoss() = default;
  explicit FusedRowLoss(const fastloss_term& term) : loss(), specialized(false), functor() {
#define FASTLOSS_TAG(NAME, LABELS, ...)                                                 \
  if constexpr (kCanFuse<NAME<T>, FASTLOSS_SPARSE_##LABELS>) {                          \
    if (!std::strcmp(term.loss, #NAME)) set<NAME<T>>(RowLossId::NAME, term.parameters); \
  }
    FASTLOSS_ROWWISE_LOSSES(FASTLOSS_TAG)
#undef FASTLOSS_TAG
  }

 private:
  template <class Loss>
  void set(RowLossId id, const double* parameters) {
    using Special = typename Specialization<Loss>::type;
    loss = id;
    specialized = Specialization<Loss>::applies(parameters);
    if constexpr (!std::is_void<Special>::value)
      if (specialized) return store<Special>(parameters);
    store<Loss>(parameters);
  }

  template <class Functor>
  void store(const double* parameters) {
    static_assert(sizeof(Functor) <= sizeof(functor), "a fused term has at most four numbers");
    static_assert(std::is_trivially_copyable<Functor>::value, "a loss is copied to the device");
    const Functor made(parameters);
    std::memcpy(functor, &made, sizeof(made));
  }
};

template <class T>
struct FusedRowLosses {
  int32_t count;
  FusedRowLoss<T> terms[FASTLOSS_CUDA_MAX_TERMS];
};

// Calls visit(functor) with the functor of a loss whose labels are sparse or dense as kSparse says.
template <bool kSparse, class T, class Visit>
__device__ __forceinline__ void visit_fused_row_loss(const FusedRowLoss<T>& term,
                                                     const Visit& visit) {
#define FASTLOSS_VISIT(NAME, LABELS, ...)                                                    \
  if constexpr (FASTLOSS_SPARSE_##LABELS == kSparse && kCanFuse<NAME<T>, kSparse>) {         \
    if (term.loss == RowLossId::NAME) {                                                      \
      using Special = typename Specialization<NAME<T>>::type;                                \
      if constexpr (!std::is_void<Special>::value) {                                         \
        if (term.specialized) return visit(*reinterpret_cast<const Special*>(term.functor)); \
      }                                                                                      \
      return visit(*reinterpret_cast<const NAME<T>*>(term.functor));                         \
    }                                                                                        \
  }
  FASTLOSS_ROWWISE_LOSSES(FASTLOSS_VISIT)
#undef FASTLOSS_VISIT
}
#undef FASTLOSS_SPARSE_dense
#undef FASTLOSS_SPARSE_sparse

// What the classes of a row add up to for a loss of dense labels, finalized. The row is shared by
// `lanes` neighbouring threads, all of which get the same bits; label(c) and prediction(c) are its
// classes. All threads of a block must call.
template <class T, class Loss, class Label, class Prediction>
__device__ __forceinline__ RowSums<T> fused_row_sums(const Loss& loss, int lane, int lanes,
                                                     int classes, const Label& label,
                                                     const Prediction& prediction) {
  RowSums<T> sums = loss.identity();
  for (int c = lane; c < classes; c += lanes)
    sums = loss.combine(sums, loss.accumulate(label(c), prediction(c)));
  return loss.finalize(
      combine_lanes(sums, lanes, [&](RowSums<T> x, RowSums<T> y) { return loss.combine(x, y); }));
}

// The finalized sums of a row that the gradient of a loss of dense labels depends on.
template <class T>
struct GradientSums {
  T b, c;
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
