// Long rows, one after the other: the lanes are classes. A row that fits the caches is read from
// memory once.
#pragma once

#include "cpu/rowwise/row_outputs.h"
#include "cpu/rowwise/row_tasks.h"

namespace fastloss {

// The sum of the losses of [begin, end).
template <class T>
double run_contiguous(const RowwisePlan<T>& plan, const RowOutputs<T>& outputs, int64_t begin,
                      int64_t end, RowTaskReader<T>* tasks);

}  // namespace fastloss
