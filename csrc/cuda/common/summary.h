// The loss from the sums of the pieces, and losses of nothing.
#pragma once

#include "api/fastloss_cuda.h"
#include "cuda/common/divisor.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
struct Summary {
  int32_t count;  // of terms
  int64_t pieces;
  const double* partials;  // (terms, pieces)
  Inverse inverse;
  bool empty;  // no rows: the loss is 0
  // What the sum of each term is multiplied by in the loss, and in the term's own value.
  double loss_scale[FASTLOSS_CUDA_MAX_TERMS], term_scale[FASTLOSS_CUDA_MAX_TERMS];
  const T* factor;  // a further factor of each term in the loss, or null
  T* loss;
  T* term_values;  // or null
};

template <class T>
int launch_summary(const Summary<T>& summary, void* stream);

template <class T>
int launch_fill(T value, T* out, int64_t count, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
