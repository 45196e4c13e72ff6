// Losses that are added up, each a tagged functor: a kernel for every combination is impossible, so
// the tag is a branch, taken once for a whole tile.
#pragma once

#include <cstring>

#include "api/elementwise_call.h"
#include "api/fastloss_cuda.h"
#include "cuda/common/specialization.h"
#include "cuda/elementwise/pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

#define FASTLOSS_ID(NAME, ...) NAME,
enum class ElementwiseLossId : int32_t { FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_ID) };
#undef FASTLOSS_ID

template <class T>
struct TaggedTerm {
  ElementwiseLossId loss;
  bool specialized;
  double term_scale;  // the term's factor, divided by the columns for a mean over them
  alignas(8) unsigned char functor[8 * sizeof(T)];

  TaggedTerm() = default;
  TaggedTerm(const fastloss_term& term, double term_scale)
      : loss(), specialized(false), term_scale(term_scale), functor() {
#define FASTLOSS_TAG(NAME, ...) \
  if (!std::strcmp(term.loss, #NAME)) set<NAME<T>>(ElementwiseLossId::NAME, term.parameters);
    FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_TAG)
#undef FASTLOSS_TAG
  }

 private:
  template <class Loss>
  void set(ElementwiseLossId id, const double* parameters) {
    using Special = typename Specialization<Loss>::type;
    loss = id;
    specialized = Specialization<Loss>::applies(parameters);
    if constexpr (!std::is_void<Special>::value)
      if (specialized) return store<Special>(parameters);
    store<Loss>(parameters);
  }

  template <class Functor>
  void store(const double* parameters) {
    static_assert(sizeof(Functor) <= sizeof(functor), "a loss has at most eight numbers");
    static_assert(std::is_trivially_copyable<Functor>::value, "a loss is copied to the device");
    const Functor made = functor_of<Functor>(parameters);
    std::memcpy(functor, &made, sizeof(made));
  }
};

template <class T>
struct TaggedTerms {
  int32_t count;
  TaggedTerm<T> terms[FASTLOSS_CUDA_MAX_TERMS];
};

// Calls visit(functor) with the functor of the term.
template <class T, class Visit>
__device__ __forceinline__ void visit_term(const TaggedTerm<T>& term, bool binary,
                                           const Visit& visit) {
  const auto visit_functor = [&](auto* functor) {
    using Loss = std::remove_const_t<std::remove_pointer_t<decltype(functor)>>;
    if constexpr (asks_binary<Loss>::value) {
      Loss loss = *functor;
      loss.binary = binary;
      visit(loss);
    } else {
      visit(*functor);
    }
  };
#define FASTLOSS_VISIT(NAME, ...)                                                                 \
  case ElementwiseLossId::NAME: {                                                                 \
    using Special = typename Specialization<NAME<T>>::type;                                       \
    if constexpr (!std::is_void<Special>::value) {                                                \
      if (term.specialized) return visit_functor(reinterpret_cast<const Special*>(term.functor)); \
    }                                                                                             \
    return visit_functor(reinterpret_cast<const NAME<T>*>(term.functor));                         \
  }
  switch (term.loss) { FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_VISIT) }
#undef FASTLOSS_VISIT
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
