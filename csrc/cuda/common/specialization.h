// The cheaper form that a loss may have for a common value of its parameters.
#pragma once

#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// `type` is the functor of that form, or void; applies() says whether some parameters allow it.
template <class Loss, class = void>
struct Specialization {
  using type = void;
  static bool applies(const double*) { return false; }
};
template <class Loss>
struct Specialization<Loss, decltype(void(sizeof(typename Loss::GammaTwo)))> {
  using type = typename Loss::GammaTwo;
  static bool applies(const double* parameters) { return Loss::gamma_is_two(parameters); }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
