// Compiled once per instruction set, under the rules of vector.h.
#include "cpu/kernels/rowwise.h"

#include "cpu/kernels/rowwise_dense.h"
#include "cpu/kernels/rowwise_sparse.h"
#include "cpu/kernels/same_text.h"
#include "cpu/kernels/softmax.h"
#include "cpu/kernels/transpose.h"
#include "losses/rowwise.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <class Loss, class T>
void sum_clipped(const double* parameters, const T* __restrict x, int64_t size, Lanes<T>* sum) {
  const Loss loss(parameters);
  for (int64_t begin = 0; begin < size; begin += kSteps) {
    const int64_t end = begin + kSteps < size ? begin + kSteps : size;
    Lanes<T> some;
    clear(&some);
    for (int64_t i = begin; i < end; i += kWidth)
      for (int64_t k = 0; k < kWidth; ++k) some.lane[k] += loss.clipped(x[i + k]);
    for (int64_t k = 0; k < kWidth; ++k) sum->lane[k] += some.lane[k];
  }
}

template <class Loss, class T>
bool unclipped(const double* parameters, T x) {
  return Loss(parameters).clipped(x) == x;
}

template <class Loss, class T>
RowLoops<T> loops_of(const DenseLoops<T>& dense, const SparseLoops<T>& sparse) {
  return {Loss::kPrediction, Loss::kLabel, dense, sparse, sum_clipped<Loss, T>, unclipped<Loss, T>};
}

// For gamma 2, where a loss has a cheaper form for it.
template <class Loss, class T>
auto dense_for(const double* parameters, int)
    -> decltype(loops_of<typename Loss::GammaTwo, T>({}, {})) {
  using Square = typename Loss::GammaTwo;
  return Loss::gamma_is_two(parameters) ? loops_of<Square, T>(dense_loops<Square, T>(), {})
                                        : loops_of<Loss, T>(dense_loops<Loss, T>(), {});
}
template <class Loss, class T>
RowLoops<T> dense_for(const double*, long) {
  return loops_of<Loss, T>(dense_loops<Loss, T>(), {});
}

template <class Loss, class T>
RowLoops<T> sparse_for() {
  DenseLoops<T> dense = dense_loops<typename Loss::Dense, T>();
  // What fills up a row does not depend on how its label is written.
  dense.pad_prediction = Loss::pad_prediction();
  return loops_of<Loss, T>(dense, LoopsAtLabel<Loss, T>::loops());
}

template <class T>
RowLoops<T> find(const char* loss, const double* parameters) {
#define FASTLOSS_FIND_dense(NAME) dense_for<NAME<T>, T>(parameters, 0)
#define FASTLOSS_FIND_sparse(NAME) sparse_for<NAME<T>, T>()
#define FASTLOSS_FIND(NAME, LABELS, ...) \
  if (same_text(loss, #NAME)) return FASTLOSS_FIND_##LABELS(NAME);
  FASTLOSS_ROWWISE_LOSSES(FASTLOSS_FIND)
#undef FASTLOSS_FIND
#undef FASTLOSS_FIND_sparse
#undef FASTLOSS_FIND_dense
  (void)parameters;
  return {};
}

template <class T>
void smooth(T* __restrict label, int64_t size, T factor, T shift, const T* __restrict weight,
            bool interleaved) {
  if (!weight) {
    for (int64_t i = 0; i < (size & -kWidth); ++i) label[i] = factor * label[i] + shift;
  } else if (interleaved) {
    for (int64_t i = 0; i < size; i += kWidth)
      for (int64_t k = 0; k < kWidth; ++k)
        label[i + k] = weight[i / kWidth] * (factor * label[i + k] + shift);
  } else {
    for (int64_t i = 0; i < (size & -kWidth); ++i)
      label[i] = weight[i] * (factor * label[i] + shift);
  }
}

}  // namespace

extern const RowOps<float> kRowOpsFloat;
extern const RowOps<double> kRowOpsDouble;
template <class T>
constexpr RowOps<T> row_ops() {
  return {find<T>,      maxima<T>,       first_reaching<T>,   exps<T>,
          log_lanes<T>, sum_of_lanes<T>, maximum_of_lanes<T>, scale_logits<T>,
          smooth<T>,    interleave<T>,   deinterleave<T>};
}
const RowOps<float> kRowOpsFloat = row_ops<float>();
const RowOps<double> kRowOpsDouble = row_ops<double>();

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
