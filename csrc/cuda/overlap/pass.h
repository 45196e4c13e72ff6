// What the kernels of the overlap pattern are told.
#pragma once

#include <cstring>

#include "cuda/elementwise/terms.h"
#include "cuda/overlap/layout.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// What a walk meets, in kernels of their own.
enum class Meets {
  shares,    // dense labels; each number is for itself
  elements,  // likewise, and elementwise losses beside
  classes,   // positions whose labels are classes
  rows       // positions with rows of labels
};

constexpr bool is_dense(Meets meets) { return meets != Meets::classes; }
constexpr bool is_by_position(Meets meets) {
  return meets == Meets::classes || meets == Meets::rows;
}

template <class T>
struct OverlapWalk {
  OverlapLayout layout;
  bool squared, has_ignore_class, per_class;
  int32_t activation, first_class;
  int64_t ignore_class, groups_of_image;
  int32_t y_true_dtype, y_true_size, y_pred_dtype;
  const void* y_true;
  const void* y_pred;
  char* workspace;   // of wide tiles
  double* partials;  // (images, classes, 3, pieces)
  double* values;    // (fused_terms and how many positions count, images, pieces), or null
  // Of the gradient.
  void* gradient;
  const GroupLoss* points;     // (images, classes)
  const double* scales;        // of the regions and of each fused_term
  Cycle<T> weight;             // of groups, or without data
  const T* upstream;           // of a scalar loss, or null
  const T* upstream_of_group;  // likewise
};

// ---- Rowwise losses that ride along.

#define FASTLOSS_SPARSE_dense false
#define FASTLOSS_SPARSE_sparse true
#define FASTLOSS_ID(NAME, ...) NAME,
enum class RowLossId : int32_t { FASTLOSS_ROWWISE_LOSSES(FASTLOSS_ID) };
#undef FASTLOSS_ID

template <class T>
struct BoxedRow {
  RowLossId loss;
  bool gamma_two;
  alignas(8) unsigned char functor[4 * sizeof(T)];

  template <class Loss>
  void box(RowLossId id, const double* parameters) {
    static_assert(sizeof(Loss) <= sizeof(functor), "a fused_term has at most four numbers");
    const Loss made(parameters);
    loss = id;
    std::memcpy(functor, &made, sizeof(made));
  }

  BoxedRow() = default;
  explicit BoxedRow(const fastloss_term& term, double) : loss(), gamma_two(false), functor() {
#define FASTLOSS_BOX(NAME, LABELS, ...)                               \
  if constexpr (kCanFuse<NAME<T>, FASTLOSS_SPARSE_##LABELS>) {        \
    if (!std::strcmp(term.loss, #NAME)) {                             \
      using Square = typename for_gamma_two<NAME<T>>::type;           \
      box<NAME<T>>(RowLossId::NAME, term.parameters);                 \
      if constexpr (!std::is_void<Square>::value) {                   \
        gamma_two = term.parameters[1] == 2;                          \
        if (gamma_two) box<Square>(RowLossId::NAME, term.parameters); \
      }                                                               \
    }                                                                 \
  }
    FASTLOSS_ROWWISE_LOSSES(FASTLOSS_BOX)
#undef FASTLOSS_BOX
  }
};

template <class T>
struct BoxedRows {
  int32_t count;
  BoxedRow<T> terms[FASTLOSS_CUDA_MAX_TERMS];
};

// Calls visit(functor) if the loss in the box is one of `kSparse` labels.
template <bool kSparse, class T, class Visit>
__device__ __forceinline__ void unbox_row(const BoxedRow<T>& row, const Visit& visit) {
#define FASTLOSS_UNBOX(NAME, LABELS, ...)                                               \
  if constexpr (FASTLOSS_SPARSE_##LABELS == kSparse && kCanFuse<NAME<T>, kSparse>) {    \
    if (row.loss == RowLossId::NAME) {                                                  \
      using Square = typename for_gamma_two<NAME<T>>::type;                             \
      if constexpr (!std::is_void<Square>::value) {                                     \
        if (row.gamma_two) return visit(*reinterpret_cast<const Square*>(row.functor)); \
      }                                                                                 \
      return visit(*reinterpret_cast<const NAME<T>*>(row.functor));                     \
    }                                                                                   \
  }
  FASTLOSS_ROWWISE_LOSSES(FASTLOSS_UNBOX)
#undef FASTLOSS_UNBOX
}
#undef FASTLOSS_SPARSE_dense
#undef FASTLOSS_SPARSE_sparse

// Starts the walk for the sums, or with a gradient for that.
template <int kSize>
int launch_overlap_walk(const fastloss_overlap& call,
                        const OverlapWalk<typename Predictions<kSize>::T>& walk, void* stream);
template <>
int launch_overlap_walk<2>(const fastloss_overlap&, const OverlapWalk<float>&, void*);
template <>
int launch_overlap_walk<4>(const fastloss_overlap&, const OverlapWalk<float>&, void*);
template <>
int launch_overlap_walk<8>(const fastloss_overlap&, const OverlapWalk<double>&, void*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
