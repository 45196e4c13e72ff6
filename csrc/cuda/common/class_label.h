// Class labels of any dtype.
#pragma once

#include "api/fastloss.h"
#include "losses/convert.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class Integer>
FASTLOSS_INLINE int64_t integer_label(const void* data, int64_t i) {
  return int64_t(static_cast<const Integer*>(data)[i]);
}

FASTLOSS_INLINE int64_t number_label(double label) {
  return label > -0x1p62 && label < 0x1p62 ? int64_t(label) : INT64_MIN;
}

// Label i. A label that int64 cannot represent becomes a number that is never a class.
FASTLOSS_INLINE int64_t class_label(int32_t dtype, const void* data, int64_t i) {
  switch (dtype) {
    case FASTLOSS_INT8:
      return integer_label<int8_t>(data, i);
    case FASTLOSS_INT16:
      return integer_label<int16_t>(data, i);
    case FASTLOSS_INT32:
      return integer_label<int32_t>(data, i);
    case FASTLOSS_INT64:
      return integer_label<int64_t>(data, i);
    case FASTLOSS_UINT16:
      return integer_label<uint16_t>(data, i);
    case FASTLOSS_UINT32:
      return integer_label<uint32_t>(data, i);
    case FASTLOSS_UINT64: {
      const int64_t label = integer_label<uint64_t>(data, i);
      return label < 0 ? -1 : label;
    }
    case FASTLOSS_FLOAT32:
      return number_label(double(static_cast<const float*>(data)[i]));
    case FASTLOSS_FLOAT64:
      return number_label(static_cast<const double*>(data)[i]);
    case FASTLOSS_FLOAT16:
      return number_label(widen<double>(static_cast<const half_bits*>(data)[i]));
    case FASTLOSS_BFLOAT16:
      return number_label(widen<double>(static_cast<const bfloat16_bits*>(data)[i]));
    default:  // uint8 and bool
      return integer_label<uint8_t>(data, i);
  }
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
