// Labels that are classes, in any dtype.
#pragma once

#include <limits>

#include "cpu/kernels/row_tile.h"
#include "cpu/kernels/tile.h"
#include "cpu/runtime/pieces.h"

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

// The labels from `first` on, up to kRowLanes of them.
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
  }
  double labels[kRowLanes];
  isa().f64.load(dtype, static_cast<const char*>(data) + first * dtype_size(dtype), labels, count);
  for (int64_t k = 0; k < count; ++k)
    out[k] = labels[k] > -0x1p62 && labels[k] < 0x1p62 ? int64_t(labels[k])
                                                       : std::numeric_limits<int64_t>::min();
}

}  // namespace fastloss
