// A rowwise loss as a tagged functor: the tag is a branch, taken once for a vector of classes or
// for a row, so that the kernels are compiled once for all losses.
#pragma once

#include <cstring>
#include <utility>

#include "api/rowwise_call.h"
#include "cuda/common/device.h"
#include "cuda/common/specialization.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class... Losses>
struct LossList {};

// The first index of a loss in a list.
template <class Loss, class List>
struct index_in;
template <class Loss, class... Rest>
struct index_in<Loss, LossList<Loss, Rest...>> {
  static constexpr int value = 0;
};
template <class Loss, class First, class... Rest>
struct index_in<Loss, LossList<First, Rest...>> {
  static constexpr int value = 1 + index_in<Loss, LossList<Rest...>>::value;
};

#define FASTLOSS_DENSE(NAME, ...) \
  , typename dense_of<NAME<T>>::type, typename Specialization<NAME<T>>::type
#define FASTLOSS_AT_LABEL(NAME, ...) \
  , std::conditional_t<has_at_label<NAME<T>>::value, NAME<T>, void>
// Losses of rows of labels, and losses that depend on the label's class alone. `void` comes first,
// so that index 0 is no loss.
template <class T>
using DenseLosses = LossList<void FASTLOSS_ROWWISE_LOSSES(FASTLOSS_DENSE)>;
template <class T>
using AtLabelLosses = LossList<void FASTLOSS_ROWWISE_LOSSES(FASTLOSS_AT_LABEL)>;
#undef FASTLOSS_DENSE
#undef FASTLOSS_AT_LABEL

// A loss of some list, or none.
template <class T>
struct TaggedFunctor {
  int32_t index = 0;
  alignas(8) unsigned char functor[6 * sizeof(T)] = {};

  template <class Loss, class List>
  void set(const double* parameters) {
    static_assert(sizeof(Loss) <= sizeof(functor), "a rowwise loss has at most six numbers");
    static_assert(std::is_trivially_copyable<Loss>::value, "a loss is copied to the device");
    const Loss made(parameters);
    index = index_in<Loss, List>::value;
    std::memcpy(functor, &made, sizeof(made));
  }
};

template <class Loss, int kIndex, class List, class T, class Visit>
__device__ __forceinline__ bool visit_if(const TaggedFunctor<T>& tagged, const Visit& visit) {
  if constexpr (std::is_void<Loss>::value) {
    return false;
  } else if constexpr (index_in<Loss, List>::value != kIndex) {
    return false;
  } else {
    if (tagged.index != kIndex) return false;
    visit(*reinterpret_cast<const Loss*>(tagged.functor));
    return true;
  }
}

template <class T, class... Losses, size_t... kIndices, class Visit>
__device__ __forceinline__ void visit_tagged(const TaggedFunctor<T>& tagged, LossList<Losses...>,
                                             std::index_sequence<kIndices...>, const Visit& visit) {
  (void)(visit_if<Losses, int(kIndices), LossList<Losses...>>(tagged, visit) || ...);
}

template <class T>
struct TaggedRowLoss {
  Normalization prediction = Normalization::none, label = Normalization::none;
  bool adds = true;  // combining sums is adding them
  T low = 0, high = 0;
  TaggedFunctor<T> dense, at_label;

  TaggedRowLoss() = default;
  TaggedRowLoss(const char* loss, const double* parameters) {
#define FASTLOSS_TAG(NAME, ...) \
  if (!std::strcmp(loss, #NAME)) set<NAME<T>>(parameters);
    FASTLOSS_ROWWISE_LOSSES(FASTLOSS_TAG)
#undef FASTLOSS_TAG
  }

  // Calls visit(functor) with the loss of rows of labels.
  template <class Visit>
  __device__ __forceinline__ void visit_dense(const Visit& visit) const {
    visit_list(dense, DenseLosses<T>(), visit);
  }
  // Calls visit(functor) with the loss of the label's class.
  template <class Visit>
  __device__ __forceinline__ void visit_at_label(const Visit& visit) const {
    visit_list(at_label, AtLabelLosses<T>(), visit);
  }

  // What a class contributes to the sum of its row: itself, or clipped.
  __device__ __forceinline__ T clipped(T x) const { return clip(x, low, high); }

 private:
  template <class... Losses, class Visit>
  static __device__ __forceinline__ void visit_list(const TaggedFunctor<T>& tagged,
                                                    LossList<Losses...> losses,
                                                    const Visit& visit) {
    visit_tagged(tagged, losses, std::make_index_sequence<sizeof...(Losses)>(), visit);
  }

  template <RowSums<T> (*kCombine)(RowSums<T>, RowSums<T>)>
  struct Combines {};

  template <class Loss>
  void set(const double* parameters) {
    using Dense = typename dense_of<Loss>::type;
    using Special = typename Specialization<Loss>::type;
    prediction = Loss::kPrediction, label = Loss::kLabel;
    const Loss made(parameters);
    low = made.clipped(-Format<T>::kInfinity), high = made.clipped(Format<T>::kInfinity);
    if constexpr (has_at_label<Loss>::value)
      at_label.template set<Loss, AtLabelLosses<T>>(parameters);
    if constexpr (!std::is_void<Dense>::value) {
      using Own = Combines<&Dense::combine>;
      adds = std::is_same<Own, Combines<&RowwiseLoss<T>::combine>>::value;
      static_assert(std::is_same<Own, Combines<&RowwiseLoss<T>::combine>>::value ||
                        std::is_same<Own, Combines<&categorical_hinge<T>::combine>>::value,
                    "RowLoss knows these two ways to combine sums");
      dense.template set<Dense, DenseLosses<T>>(parameters);
    }
    if constexpr (!std::is_void<Special>::value)
      if (Specialization<Loss>::applies(parameters))
        dense.template set<Special, DenseLosses<T>>(parameters);
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
