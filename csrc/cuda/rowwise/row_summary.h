// The small kernels before and after a pass over rows.
#pragma once

#include "cuda/common/divisor.h"
#include "cuda/rowwise/row_pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Finds which rows of labels are ignored: those whose labels are all 0 except for the ignored
// class.
template <class T>
int launch_ignored(const RowPass<T>& pass, uint8_t* ignored, void* stream);

// As launch_divisor, for the rows that are not ignored: adds up their weights, or counts them.
template <class T>
int launch_count(const RowPass<T>& pass, bool by_weight, const DivisorSum& divisor, void* stream);

// Computes the loss from the sums of the pieces.
template <class T>
int launch_row_total(const RowPass<T>& pass, T* loss, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
