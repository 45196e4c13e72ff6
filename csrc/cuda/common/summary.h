// The small kernels before and after a walk.
#pragma once

#include "cuda/elementwise/terms.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// How many labels decide what all labels are taken for.
constexpr int64_t kGuessLabels = 512;

template <class T>
int launch_guess(const ElementwiseWalk<T>& walk, void* stream);

// What the weights add up to, and 1 / (sum * replicas / expansion) of it; 0 for a sum of 0.
struct Divisor {
  Pieces pieces;      // of the weights
  double* partials;   // one for each piece
  double multiplier;  // replicas / expansion
  double* inverse;
};

// *inverse out of the partials.
int launch_invert(const Divisor& divisor, void* stream);

template <class T>
int launch_divisor(const T* weight, const Divisor& divisor, void* stream);

// The loss out of the sums of the pieces.
template <class T>
struct Summary {
  int32_t count;
  int64_t pieces;
  bool empty;  // no rows: the loss is 0
  // Of each term, of the loss and of the term alone.
  double of_loss[FASTLOSS_CUDA_MAX_TERMS], of_term[FASTLOSS_CUDA_MAX_TERMS];
  const T* factor;  // what else each term is multiplied by in the loss, or null
  T* loss;
  T* term_values;  // or null
};

template <class T>
int launch_summary(const Summary<T>& summary, const ElementwiseWalk<T>& walk, void* stream);

template <class T>
int launch_fill(T value, T* out, int64_t count, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
