// The pass over boxes: its parameters.
#pragma once

#include <cstring>

#include "api/boxes_call.h"
#include "cuda/common/broadcast_weights.h"
#include "cuda/common/divisor.h"
#include "cuda/common/dtypes.h"

namespace fastloss {
namespace FASTLOSS_ISA {

#define FASTLOSS_ID(NAME, ...) NAME,
enum class BoxLossId : int32_t { FASTLOSS_BOX_LOSSES(FASTLOSS_ID) };
#undef FASTLOSS_ID

// A box loss as a tagged functor, so that one kernel serves all losses; the tag is a uniform
// branch.
template <class T>
struct TaggedBoxLoss {
  BoxLossId loss;
  alignas(8) unsigned char functor[sizeof(complete_box_iou<T>)];

  TaggedBoxLoss() = default;
  TaggedBoxLoss(const char* name, const double* parameters) {
#define FASTLOSS_TAG(NAME, ...)                                                           \
  if (!std::strcmp(name, #NAME)) {                                                        \
    static_assert(sizeof(NAME<T>) <= sizeof(functor), "no loss is larger than this one"); \
    const NAME<T> made(parameters);                                                       \
    loss = BoxLossId::NAME;                                                               \
    std::memcpy(functor, &made, sizeof(made));                                            \
  }
    FASTLOSS_BOX_LOSSES(FASTLOSS_TAG)
#undef FASTLOSS_TAG
  }

  FASTLOSS_INLINE BoxPoint<T> operator()(const Axis<T>& x, const Axis<T>& y) const {
#define FASTLOSS_VISIT(NAME, ...) \
  case BoxLossId::NAME:           \
    return (*reinterpret_cast<const NAME<T>*>(functor))(x, y);
    switch (loss) { FASTLOSS_BOX_LOSSES(FASTLOSS_VISIT) }
#undef FASTLOSS_VISIT
    return {};
  }
};

template <class T>
struct BoxPass {
  int64_t boxes;
  Pieces pieces;
  TaggedBoxLoss<T> loss;
  bool centred;
  int32_t y_true_dtype, y_true_size, y_pred_dtype;
  const void* y_true;
  const void* y_pred;
  void* gradient;              // or null
  T* losses;                   // one for each box, or null
  double* partials;            // one for each piece, or null
  BroadcastWeights<T> weight;  // or without data
  const T* upstream;           // of a scalar loss, or null
  const T* upstream_of_box;    // likewise
  Inverse inverse;
};

// Computes the outputs that the pass has; kSize is the size of a prediction.
template <int kSize>
int launch_boxes(const BoxPass<typename Predictions<kSize>::T>& pass, void* stream);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
