// Short rows, and rows whose classes are strided, kRowLanes at a time: the lanes are rows.
#pragma once

#include "cpu/rowwise/row_outputs.h"
#include "cpu/rowwise/row_tasks.h"

namespace fastloss {

// The sum of the losses of [begin, end).
template <class T>
double run_interleaved(const RowwisePlan<T>& plan, const RowOutputs<T>& outputs, int64_t begin,
                       int64_t end, RowTaskReader<T>* tasks);

}  // namespace fastloss
