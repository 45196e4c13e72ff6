// Long rows of which neither the loss nor its gradient looks at classes other than the label's: the
// lanes are rows.
#pragma once

#include "cpu/rowwise/row_outputs.h"
#include "cpu/rowwise/row_tasks.h"

namespace fastloss {

// The sum of the losses of [begin, end).
template <class T>
double run_label_only(const RowwisePlan<T>& plan, const RowOutputs<T>& outputs, int64_t begin,
                      int64_t end, RowTaskReader<T>* tasks);

}  // namespace fastloss
