// Labels that are classes, in any dtype.
#pragma once

#include <cstdint>
#include <limits>

#include "api/fastloss.h"
#include "losses/convert.h"

namespace fastloss {

template <class Integer>
inline void read_integers(const void* data, int64_t first, int64_t count, int64_t* out) {
  const Integer* const from = static_cast<const Integer*>(data) + first;
  // What int64 cannot hold is no class either.
  const auto fits = [](Integer x) {
    return sizeof(x) < 8 || uint64_t(x) <= uint64_t(std::numeric_limits<int64_t>::max());
  };
  for (int64_t k = 0; k < count; ++k)
    out[k] = Integer(-1) < 0 || fits(from[k]) ? int64_t(from[k]) : -1;
}

template <class Float>
inline void read_floats(const void* data, int64_t first, int64_t count, int64_t* out) {
  const Float* const from = static_cast<const Float*>(data) + first;
  for (int64_t k = 0; k < count; ++k) {
    const double label = FASTLOSS_ISA::widen<double>(from[k]);
    out[k] =
        label > -0x1p62 && label < 0x1p62 ? int64_t(label) : std::numeric_limits<int64_t>::min();
  }
}

// The `count` labels from `first` on.
inline void read_labels(int32_t dtype, const void* data, int64_t first, int64_t count,
                        int64_t* out) {
  switch (dtype) {
    case FASTLOSS_INT8:
      return read_integers<int8_t>(data, first, count, out);
    case FASTLOSS_UINT8:
    case FASTLOSS_BOOL:
      return read_integers<uint8_t>(data, first, count, out);
    case FASTLOSS_INT16:
      return read_integers<int16_t>(data, first, count, out);
    case FASTLOSS_UINT16:
      return read_integers<uint16_t>(data, first, count, out);
    case FASTLOSS_INT32:
      return read_integers<int32_t>(data, first, count, out);
    case FASTLOSS_UINT32:
      return read_integers<uint32_t>(data, first, count, out);
    case FASTLOSS_INT64:
      return read_integers<int64_t>(data, first, count, out);
    case FASTLOSS_UINT64:
      return read_integers<uint64_t>(data, first, count, out);
    case FASTLOSS_FLOAT16:
      return read_floats<FASTLOSS_ISA::half_bits>(data, first, count, out);
    case FASTLOSS_BFLOAT16:
      return read_floats<FASTLOSS_ISA::bfloat16_bits>(data, first, count, out);
    case FASTLOSS_FLOAT32:
      return read_floats<float>(data, first, count, out);
    default:  // checked before, so it is float64
      return read_floats<double>(data, first, count, out);
  }
}

}  // namespace fastloss
