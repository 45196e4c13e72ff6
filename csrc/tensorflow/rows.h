// Some rows of a tensor, as an op is given them.
#pragma once

#include <algorithm>

#include "tensorflow/kernel.h"

namespace fastloss {

// Where rows of dims `part` begin in a tensor of dims `whole`; checked.
inline int64_t first_row(const Dims& part, const Dims& whole, const Tensor& begin) {
  if (whole.empty() || part.size() != whole.size() || !dims_of(begin.get()).empty() ||
      !std::equal(whole.begin() + 1, whole.end(), part.begin() + 1))
    throw invalid("part has shape " + text_of(part) + " and the whole has shape " + text_of(whole) +
                  "; expected rows of the same shape, and a scalar for the first of them");
  const void* const number = TF_TensorData(begin.get());
  const int64_t first = TF_TensorType(begin.get()) == FASTLOSS_INT32
                            ? *static_cast<const int32_t*>(number)
                            : *static_cast<const int64_t*>(number);
  if (first < 0 || first + part[0] > whole[0])
    throw invalid("part has " + std::to_string(part[0]) + " rows from row " +
                  std::to_string(first) + " on, but the whole has " + std::to_string(whole[0]));
  return first;
}

}  // namespace fastloss
