// Losses that are added up, each a functor in a box: which it is, is looked up for a whole tile.
#pragma once

#include <cstring>

#include "api/elementwise_call.h"
#include "api/fastloss_cuda.h"
#include "cuda/common/gamma_two.h"
#include "cuda/elementwise/pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

#define FASTLOSS_ID(NAME, ...) NAME,
enum class LossId : int32_t { FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_ID) };
#undef FASTLOSS_ID

template <class T>
struct BoxedTerm {
  LossId loss;
  bool gamma_two;
  double of_term;  // its factor, over the columns for a mean
  alignas(8) unsigned char functor[8 * sizeof(T)];

  template <class Loss>
  void box(LossId id, const double* parameters) {
    static_assert(sizeof(Loss) <= sizeof(functor), "a loss has at most eight numbers");
    static_assert(std::is_trivially_copyable<Loss>::value, "a loss is copied to the device");
    const Loss made = functor_of<Loss>(parameters);
    loss = id;
    std::memcpy(functor, &made, sizeof(made));
  }

  explicit BoxedTerm(const fastloss_term& term, double of_term)
      : loss(), gamma_two(false), of_term(of_term), functor() {
#define FASTLOSS_BOX(NAME, ...)                                  \
  if (!std::strcmp(term.loss, #NAME)) {                          \
    using Square = typename for_gamma_two<NAME<T>>::type;        \
    box<NAME<T>>(LossId::NAME, term.parameters);                 \
    if constexpr (!std::is_void<Square>::value) {                \
      gamma_two = term.parameters[1] == 2;                       \
      if (gamma_two) box<Square>(LossId::NAME, term.parameters); \
    }                                                            \
  }
    FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_BOX)
#undef FASTLOSS_BOX
  }
  BoxedTerm() = default;
};

template <class T>
struct BoxedTerms {
  int32_t count;
  BoxedTerm<T> terms[FASTLOSS_CUDA_MAX_TERMS];
};

// Calls visit(functor) with the loss that is in the box.
template <class T, class Visit>
__device__ __forceinline__ void unbox(const BoxedTerm<T>& term, bool binary, const Visit& visit) {
  const auto open = [&](auto* functor) {
    using Loss = std::remove_const_t<std::remove_pointer_t<decltype(functor)>>;
    if constexpr (asks_binary<Loss>::value) {
      Loss loss = *functor;
      loss.binary = binary;
      visit(loss);
    } else {
      visit(*functor);
    }
  };
#define FASTLOSS_UNBOX(NAME, ...)                                                     \
  case LossId::NAME: {                                                                \
    using Square = typename for_gamma_two<NAME<T>>::type;                             \
    if constexpr (!std::is_void<Square>::value) {                                     \
      if (term.gamma_two) return open(reinterpret_cast<const Square*>(term.functor)); \
    }                                                                                 \
    return open(reinterpret_cast<const NAME<T>*>(term.functor));                      \
  }
  switch (term.loss) { FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_UNBOX) }
#undef FASTLOSS_UNBOX
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
