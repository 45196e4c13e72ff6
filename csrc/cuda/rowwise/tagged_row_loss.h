// A rowwise loss in a box: which it is, is looked up for a vector of classes, or for a row.
#pragma once

#include <cstring>
#include <utility>

#include "api/rowwise_call.h"
#include "cuda/common/device.h"
#include "cuda/common/gamma_two.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class... Losses>
struct LossList {};

// Where a loss first stands in a list.
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

template <class Loss, class = void>
struct pick_of {
  using type = void;
};
template <class Loss>
struct pick_of<Loss, decltype(void(&Loss::at_label))> {
  using type = Loss;
};

#define FASTLOSS_DENSE(NAME, ...) \
  , typename dense_of<NAME<T>>::type, typename for_gamma_two<NAME<T>>::type
#define FASTLOSS_PICK(NAME, ...) , typename pick_of<NAME<T>>::type
// Losses of rows of labels, and losses that look at the label's class alone.
template <class T>
using DenseLosses = LossList<void FASTLOSS_ROWWISE_LOSSES(FASTLOSS_DENSE)>;
template <class T>
using PickLosses = LossList<void FASTLOSS_ROWWISE_LOSSES(FASTLOSS_PICK)>;
#undef FASTLOSS_DENSE
#undef FASTLOSS_PICK

// Of some loss of a list; 0 for none.
template <class T>
struct LossBox {
  int32_t index = 0;
  alignas(8) unsigned char functor[6 * sizeof(T)] = {};

  template <class Loss, class List>
  void put(const double* parameters) {
    static_assert(sizeof(Loss) <= sizeof(functor), "a rowwise loss has at most six numbers");
    static_assert(std::is_trivially_copyable<Loss>::value, "a loss is copied to the device");
    const Loss made(parameters);
    index = index_in<Loss, List>::value;
    std::memcpy(functor, &made, sizeof(made));
  }
};

template <class Loss, int kIndex, class List, class T, class Visit>
__device__ __forceinline__ bool open_if(const LossBox<T>& box, const Visit& visit) {
  if constexpr (std::is_void<Loss>::value) {
    return false;
  } else if constexpr (index_in<Loss, List>::value != kIndex) {
    return false;
  } else {
    if (box.index != kIndex) return false;
    visit(*reinterpret_cast<const Loss*>(box.functor));
    return true;
  }
}

template <class T, class... Losses, size_t... kIndices, class Visit>
__device__ __forceinline__ void open(const LossBox<T>& box, LossList<Losses...>,
                                     std::index_sequence<kIndices...>, const Visit& visit) {
  (void)(open_if<Losses, int(kIndices), LossList<Losses...>>(box, visit) || ...);
}

template <class T>
struct BoxedRowLoss {
  Normalization prediction = Normalization::none, label = Normalization::none;
  bool adds = true;  // its sums are joined by adding them up
  T low = 0, high = 0;
  LossBox<T> dense, picked;

  BoxedRowLoss() = default;
  BoxedRowLoss(const char* loss, const double* parameters) {
#define FASTLOSS_BOX(NAME, ...) \
  if (!std::strcmp(loss, #NAME)) box<NAME<T>>(parameters);
    FASTLOSS_ROWWISE_LOSSES(FASTLOSS_BOX)
#undef FASTLOSS_BOX
  }

  // Calls visit(functor) with the loss of rows of labels, or of the label's class.
  template <class Visit>
  __device__ __forceinline__ void open_dense(const Visit& visit) const {
    open_list(dense, DenseLosses<T>(), visit);
  }
  template <class Visit>
  __device__ __forceinline__ void open_picked(const Visit& visit) const {
    open_list(picked, PickLosses<T>(), visit);
  }

  // What a class counts for in the sum of its row: itself, or itself clipped.
  __device__ __forceinline__ T clipped(T x) const { return clip(x, low, high); }

 private:
  template <class... Losses, class Visit>
  static __device__ __forceinline__ void open_list(const LossBox<T>& box,
                                                   LossList<Losses...> losses, const Visit& visit) {
    open(box, losses, std::make_index_sequence<sizeof...(Losses)>(), visit);
  }

  template <Sums<T> (*kJoin)(Sums<T>, Sums<T>)>
  struct Joins {};

  template <class Loss>
  void box(const double* parameters) {
    using Dense = typename dense_of<Loss>::type;
    using Square = typename for_gamma_two<Loss>::type;
    prediction = Loss::kPrediction, label = Loss::kLabel;
    const Loss made(parameters);
    low = made.clipped(-Format<T>::kInfinity), high = made.clipped(Format<T>::kInfinity);
    if constexpr (!std::is_void<typename pick_of<Loss>::type>::value)
      picked.template put<Loss, PickLosses<T>>(parameters);
    if constexpr (!std::is_void<Dense>::value) {
      adds = std::is_same<Joins<&Dense::combine>, Joins<&RowwiseLoss<T>::combine>>::value;
      dense.template put<Dense, DenseLosses<T>>(parameters);
    }
    if constexpr (!std::is_void<Square>::value)
      if (parameters[1] == 2) dense.template put<Square, DenseLosses<T>>(parameters);
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
