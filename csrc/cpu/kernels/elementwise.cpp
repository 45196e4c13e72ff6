// The loops of the elementwise losses.
#include "cpu/kernels/elementwise.h"

#include <type_traits>

#include "cpu/kernels/running_sums.h"
#include "cpu/kernels/same_text.h"
#include "losses/elementwise.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <class Loss, class T, class = void>
struct Split {
  static constexpr int64_t kBlock = kTile;
  static const T* prepare(const Loss&, const T*, const T*, const T*, T* prepared, int64_t) {
    return prepared;
  }
  static FASTLOSS_INLINE Point<T> at(const Loss& loss, T label, T prediction, T column, T) {
    return loss(label, prediction, column);
  }
};
template <class Loss, class T>
struct Split<Loss, T, decltype(void(&Loss::prepare))> {
  static constexpr int64_t kBlock = 256;
  static const T* prepare(const Loss& loss, const T* __restrict label,
                          const T* __restrict prediction, const T* exp_neg_abs,
                          T* __restrict prepared, int64_t count) {
    if (std::is_base_of_v<OfLogits<T>, Loss> && exp_neg_abs) return exp_neg_abs;
    for (int64_t i = 0; i < (count & -kLanes); ++i)
      prepared[i] = loss.prepare(label[i], prediction[i]);
    return prepared;
  }
  static FASTLOSS_INLINE Point<T> at(const Loss& loss, T label, T prediction, T column,
                                     T prepared) {
    return loss(label, prediction, column, prepared);
  }
};

// One loop per combination of outputs: what is not asked for is not computed.
template <class Loss, class T>
void evaluate_block(const Loss& loss, const T* __restrict label, const T* __restrict prediction,
                    const T* __restrict column, const T* __restrict prepared, T scale,
                    T* __restrict value, T* __restrict gradient, bool adds, int64_t count) {
  using S = Split<Loss, T>;
#define FASTLOSS_LOOP(COLUMN, VALUE, GRADIENT)                                        \
  for (int64_t i = 0; i < (count & -kLanes); ++i) {                                   \
    const Point<T> point = S::at(loss, label[i], prediction[i], COLUMN, prepared[i]); \
    VALUE;                                                                            \
    GRADIENT;                                                                         \
  }
#define FASTLOSS_LOOPS(COLUMN, INTO)                                                    \
  if (value && gradient) {                                                              \
    FASTLOSS_LOOP(COLUMN, value[i] = point.value, gradient[i] INTO point.slope * scale) \
  } else if (value) {                                                                   \
    FASTLOSS_LOOP(COLUMN, value[i] = point.value, )                                     \
  } else {                                                                              \
    FASTLOSS_LOOP(COLUMN, , gradient[i] INTO point.slope * scale)                       \
  }
  if (column) {
    FASTLOSS_LOOPS(column[i], =)
  } else if (adds && gradient) {
    FASTLOSS_LOOPS(T(1), +=)
  } else {
    FASTLOSS_LOOPS(T(1), =)
  }
#undef FASTLOSS_LOOPS
#undef FASTLOSS_LOOP
}

// The values stay in registers.
template <class Loss, class T>
void sum_block(const Loss& loss, const T* __restrict label, const T* __restrict prediction,
               const T* __restrict prepared, T scale, T* __restrict gradient, bool adds,
               int64_t count, RunningSums<T>* total) {
  RunningSums<T> sums = *total;
#define FASTLOSS_LOOP(GRADIENT)                                                                    \
  for (int64_t start = 0; start < count; start += kSums) {                                         \
    T values[kSums];                                                                               \
    for (int64_t i = start; i < start + kSums; ++i) {                                              \
      const Point<T> point = Split<Loss, T>::at(loss, label[i], prediction[i], T(1), prepared[i]); \
      values[i - start] = point.value;                                                             \
      GRADIENT;                                                                                    \
    }                                                                                              \
    sums.add(values);                                                                              \
  }
  if (!gradient) {
    FASTLOSS_LOOP()
  } else if (adds) {
    FASTLOSS_LOOP(gradient[i] += point.slope * scale)
  } else {
    FASTLOSS_LOOP(gradient[i] = point.slope * scale)
  }
#undef FASTLOSS_LOOP
  *total = sums;
}

template <class Loss, class T>
void evaluate(const double* parameters, const T* label, const T* prediction, const T* exp_neg_abs,
              const T* column, T scale, T* value, T* total, T* gradient, bool adds, int64_t count) {
  const Loss loss(parameters);
  RunningSums<T> sums;
  constexpr int64_t kBlock = Split<Loss, T>::kBlock;
  alignas(64) T own[kBlock];
  for (int64_t i = 0; i < count; i += kBlock) {
    const int64_t n = count - i < kBlock ? count - i : kBlock;
    const T* const prepared = Split<Loss, T>::prepare(
        loss, label + i, prediction + i, exp_neg_abs ? exp_neg_abs + i : nullptr, own, n);
    T* const slope = gradient ? gradient + i : nullptr;
    if (total)
      sum_block<Loss, T>(loss, label + i, prediction + i, prepared, scale, slope, adds, n, &sums);
    else
      evaluate_block<Loss, T>(loss, label + i, prediction + i, column ? column + i : nullptr,
                              prepared, scale, value ? value + i : nullptr, slope, adds, n);
  }
  if (total) *total = sums.total();
}

// The cheaper form of a loss that has one, for gamma 2 or for hard labels.
template <class Loss, class T>
auto for_gamma(const double* parameters, int) -> decltype(&evaluate<typename Loss::GammaTwo, T>) {
  return Loss::gamma_is_two(parameters) ? &evaluate<typename Loss::GammaTwo, T>
                                        : &evaluate<Loss, T>;
}
template <class Loss, class T>
TileLoop<T> for_gamma(const double*, long) {
  return &evaluate<Loss, T>;
}
template <class Loss, class T>
auto for_hard_labels(const double* parameters, int)
    -> decltype(&evaluate<typename Loss::HardLabels, T>) {
  if (!Loss::takes_hard_labels(parameters)) return nullptr;
  return for_gamma<typename Loss::HardLabels, T>(parameters, 0);
}
template <class Loss, class T>
TileLoop<T> for_hard_labels(const double*, long) {
  return nullptr;
}

}  // namespace

template <class T>
TileLoops<T> find_elementwise(const char* loss, const double* parameters) {
#define FASTLOSS_FIND(NAME, ...) \
  if (same_text(loss, #NAME))    \
    return {for_gamma<NAME<T>, T>(parameters, 0), for_hard_labels<NAME<T>, T>(parameters, 0)};
  FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_FIND)
#undef FASTLOSS_FIND
  return {nullptr, nullptr};
}
template TileLoops<float> find_elementwise(const char*, const double*);
template TileLoops<double> find_elementwise(const char*, const double*);

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
