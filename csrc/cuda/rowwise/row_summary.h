// The small kernels before and after a walk over rows.
#pragma once

#include "cuda/common/summary.h"
#include "cuda/rowwise/row_pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Says of each row of labels whether it is ignored: nothing is outside of the ignored class.
template <class T>
int launch_ignored(const RowWalk<T>& walk, uint8_t* ignored, void* stream);

// As launch_divisor, of the rows that are not ignored: their weights, or each counts once.
template <class T>
int launch_count(const RowWalk<T>& walk, bool by_weight, const Divisor& divisor, void* stream);

// The loss out of the sums of the pieces.
template <class T>
int launch_row_total(const RowWalk<T>& walk, T* loss, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
