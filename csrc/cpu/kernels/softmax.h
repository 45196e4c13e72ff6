// What a softmax is made of; entries of RowOps.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"
#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T>
void maxima(const T* x, int64_t size, Lanes<T>* maximum);
template <class T>
void first_reaching(const T* x, int64_t size, const Lanes<T>& bound, bool interleaved,
                    int32_t* steps);
template <class T>
void exps(const T* x, int64_t size, const Lanes<T>& reference, bool interleaved, T* exps,
          Lanes<T>* sum, uintptr_t ahead, uintptr_t beside);
template <class T>
void log_lanes(const Lanes<T>& x, Lanes<T>* out);
template <class T>
T sum_of_lanes(const Lanes<T>& x);
template <class T>
T maximum_of_lanes(const Lanes<T>& x);
template <class T>
void scale_logits(const T* x, int64_t size, T cap, T factor, T* z, T* slope);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
