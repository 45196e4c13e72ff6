// The cheaper form of a loss that has one, for gamma 2; else void.
#pragma once

#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class Loss, class = void>
struct for_gamma_two {
  using type = void;
};
template <class Loss>
struct for_gamma_two<Loss, decltype(void(sizeof(typename Loss::GammaTwo)))> {
  using type = typename Loss::GammaTwo;
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
