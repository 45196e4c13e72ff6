// The table of kernels of an instruction set.
#pragma once

#include "cpu/kernels/tile.h"

namespace fastloss {

template <class T>
struct RowOps;
template <class T>
struct OverlapOps;
template <class T>
struct BoxOps;

struct Isa {
  const char* name;
  TileOps<float> f32;
  TileOps<double> f64;
  const RowOps<float>* rows_f32;
  const RowOps<double>* rows_f64;
  const OverlapOps<float>* overlap_f32;
  const OverlapOps<double>* overlap_f64;
  const BoxOps<float>* boxes_f32;
  const BoxOps<double>* boxes_f64;
  bool (*scalar_probe)(const char* function, bool is_double, const void* x, const void* y,
                       void* out, long long count);

  template <class T>
  const TileOps<T>& ops() const {
    return of_type<T>(f32, f64);
  }
  template <class T>
  const RowOps<T>& row_ops() const {
    return of_type<T>(*rows_f32, *rows_f64);
  }
  template <class T>
  const OverlapOps<T>& overlap_ops() const {
    return of_type<T>(*overlap_f32, *overlap_f64);
  }
  template <class T>
  const BoxOps<T>& box_ops() const {
    return of_type<T>(*boxes_f32, *boxes_f64);
  }

 private:
  template <class T, class Single, class Double>
  static const auto& of_type(const Single& single, const Double& wide) {
    if constexpr (sizeof(T) == sizeof(float))
      return single;
    else
      return wide;
  }
};

// The one in use. fastloss_set_isa may change it at any time, so a call asks once.
const Isa& isa();
const Isa* find_isa(const char* name);
const char* isa_names();
bool set_isa(const char* name);

}  // namespace fastloss
