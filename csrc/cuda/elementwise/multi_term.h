// The kernels for any losses and any dtypes: a sum of losses in one walk, and losses of rows.
#pragma once

#include "cuda/elementwise/terms.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
using AnyTile = Tile<sizeof(T), 1>;

// Starts what `walk` wants of pieces: sums, if it has partials, and slopes, if it has a gradient.
template <class T>
int launch_any_losses(const BoxedTerms<T>& terms, const ElementwiseWalk<T>& walk, void* stream);

// loss: (rows,); partials are those of the chunks of long rows.
template <class T>
int launch_row_losses(const BoxedTerms<T>& terms, const ElementwiseWalk<T>& walk, T* loss,
                      void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
