// The kernels for any losses and dtypes: a sum of losses in one pass, and the losses of rows.
#pragma once

#include "cuda/elementwise/terms.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
using MultiTermTile = Tile<sizeof(T), 1>;

// Computes the sums of the pieces if the pass has partials, and the gradient if it has one.
template <class T>
int launch_multi_term(const TaggedTerms<T>& terms, const ElementwisePass<T>& pass, void* stream);

// `loss` has shape (rows,); partials are those of the chunks of long rows.
template <class T>
int launch_multi_term_rows(const TaggedTerms<T>& terms, const ElementwisePass<T>& pass, T* loss,
                           void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
