// The divisor of a mean over rows, groups or boxes. Often it is a sum that only the device knows,
// so the kernels take it as an inverse that may lie in device memory.
#pragma once

#include "api/reduction.h"
#include "cuda/common/layout.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// 1 / divisor, or 0 for a divisor of 0.
struct Inverse {
  double on_host = 1;
  const double* on_device = nullptr;  // takes precedence unless null

  FASTLOSS_INLINE double value() const { return on_device ? *on_device : on_host; }

  // factor / divisor
  FASTLOSS_INLINE double operator()(double factor) const {
    const double inverse = value();
    return inverse == 0 ? 0 : factor * inverse;
  }
};

// How the device computes an inverse: 1 / (sum * multiplier), or 0 where the sum is 0.
struct DivisorSum {
  Pieces pieces;     // of what is added up
  double* partials;  // one for each piece
  double multiplier;
  double* inverse;
};

// Adds up the weights.
template <class T>
int launch_divisor(const T* weight, const DivisorSum& sum, void* stream);

// Computes the inverse from partials that are there already.
int launch_invert(const DivisorSum& sum, void* stream);

// Pieces of what the device adds up for a divisor.
inline Pieces divisor_pieces(int64_t count) { return Pieces(count, 8 * kThreads); }

template <class Call>
bool is_mean(const Call& call) {
  return call.reduction == FASTLOSS_MEAN || call.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT;
}

// The part of a call's scratch, from `begin` on, that the divisor needs: nothing unless the device
// adds up `summed`.
struct DivisorScratch {
  Pieces summed;
  int64_t inverse, partials, end;

  DivisorScratch(const Pieces& summed, int64_t begin)
      : summed(summed), inverse(begin), partials(begin), end(begin) {
    if (!summed.count) return;
    partials = inverse + int64_t(sizeof(double));
    end = partials + summed.count * int64_t(sizeof(double));
  }
  template <class Call>
  static DivisorScratch of_weights(const Call& call, int64_t begin) {
    return {divides_by_weights(call) ? divisor_pieces(call.weight_count) : Pieces(), begin};
  }

  bool on_device() const { return summed.count != 0; }

  DivisorSum sum(double multiplier, char* scratch) const {
    return {summed, reinterpret_cast<double*>(scratch + partials), multiplier,
            reinterpret_cast<double*>(scratch + inverse)};
  }
};

// `count` is the number of rows, groups or boxes; several of them may share a weight.
template <class Call>
Inverse inverse_of(const Call& call, double count, const DivisorScratch& layout, char* scratch) {
  Inverse inverse;
  if (layout.on_device()) {
    inverse.on_device = reinterpret_cast<const double*>(scratch + layout.inverse);
  } else if (is_mean(call)) {
    const double divisor = count * call.replicas;
    inverse.on_host = divisor == 0 ? 0 : 1 / divisor;
  }
  return inverse;
}

// Starts adding up the weights if the device computes the divisor from them.
template <class T, class Call>
int start_divisor(const Call& call, const DivisorScratch& layout, char* scratch, void* stream) {
  if (!layout.on_device()) return 0;
  double multiplier = double(call.replicas);
  if (call.weight_expansion > 1) multiplier /= double(call.weight_expansion);
  return launch_divisor(static_cast<const T*>(call.weight), layout.sum(multiplier, scratch),
                        stream);
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
