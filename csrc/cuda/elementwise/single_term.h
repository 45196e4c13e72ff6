// The kernels of one loss whose reduction gives a scalar: sum, sum with gradient, gradient.
#pragma once

#include "cuda/elementwise/pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Loads of half a kilobyte to a kilobyte are under way in each warp before the first is waited for.
template <int kSize>
using OneLossTile = Tile<kSize, kSize == 2 ? 1 : 2>;

// The second bound, how many blocks share a multiprocessor, is what keeps registers from spilling.
template <class Loss, int kSize, bool kValue, bool kSlope>
__global__ void __launch_bounds__(kThreads, kSize == 8 ? 2 : 4)
    one_loss(const Loss given, const double of_term,
             const ElementwiseWalk<typename Predictions<kSize>::T> walk) {
  using T = typename Predictions<kSize>::T;
  using Layout = OneLossTile<kSize>;
  Loss loss = given;
  if constexpr (asks_binary<Loss>::value) {
    if (!walk.begins(&loss.binary)) return;
  }
  T scale = 0;
  if constexpr (kSlope) scale = walk.scale(of_term);

  const int64_t end = walk.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t begin = walk.pieces.begin(blockIdx.x); begin < end; begin += Layout::kElements) {
    Inputs<T, Layout> in;
    in.template load<kSize>(walk, begin, begin, end);
    if constexpr (asks_binary<Loss>::value) {
      if (loss.binary) in.check_binary(walk, begin, end);
    }
    T values[Layout::kVectors];
    FASTLOSS_UNROLL
    for (int v = 0; v < Layout::kVectors; ++v) {
      T column[Layout::kWidth], weight[Layout::kWidth], slope[Layout::kWidth];
      FASTLOSS_UNROLL
      for (int i = 0; i < Layout::kWidth; ++i) column[i] = weight[i] = T(1);
      if (walk.column.data) walk.column.template multiply<Layout::kWidth>(in.first[v], column);
      if (walk.weight.data) walk.weight.template multiply<Layout::kWidth>(in.first[v], weight);
      if (!kValue && walk.upstream_of_row.data)
        walk.upstream_of_row.template multiply<Layout::kWidth>(in.first[v], weight);
      values[v] = 0;
      FASTLOSS_UNROLL
      for (int i = 0; i < Layout::kWidth; ++i) {
        const int at = v * Layout::kWidth + i;
        const Point<T> point = evaluate(loss, in.label[at], in.prediction[at], column[i]);
        if constexpr (kValue)
          values[v] += in.counts(at, begin, end) ? point.value * weight[i] : T(0);
        if constexpr (kSlope) slope[i] = point.slope * scale * weight[i];
      }
      if constexpr (kSlope)
        store_numbers<kSize, Layout::kWidth>(slope, walk.y_pred_dtype, in.first[v], begin, end,
                                             walk.gradient);
    }
    if constexpr (kValue) sum += double(tree_sum(values));
  }
  if constexpr (kValue) {
    sum = block_sum(sum);
    if (threadIdx.x == 0) walk.partials[blockIdx.x] = sum;
  }
}

// Starts the kernel for what is wanted.
template <int kSize>
using OneLossLauncher = int (*)(const double* parameters, double of_term,
                                const ElementwiseWalk<typename Predictions<kSize>::T>& walk,
                                void* stream);

template <class Loss, int kSize>
int launch_one_loss(const double* parameters, double of_term,
                    const ElementwiseWalk<typename Predictions<kSize>::T>& walk, void* stream) {
  const Loss loss = functor_of<Loss>(parameters);
  const auto kernel = !walk.gradient  ? one_loss<Loss, kSize, true, false>
                      : walk.partials ? one_loss<Loss, kSize, true, true>
                                      : one_loss<Loss, kSize, false, true>;
  return launch(kernel, walk.pieces.count, kThreads, 0, stream, loss, of_term, walk);
}

// The cheaper form of a loss that has one, for gamma 2.
template <class Loss, int kSize>
auto launcher_for(const double* parameters, int)
    -> decltype(&launch_one_loss<typename Loss::GammaTwo, kSize>) {
  return parameters[1] == 2 ? &launch_one_loss<typename Loss::GammaTwo, kSize>
                            : &launch_one_loss<Loss, kSize>;
}
template <class Loss, int kSize>
OneLossLauncher<kSize> launcher_for(const double*, long) {
  return &launch_one_loss<Loss, kSize>;
}

// Of a known loss; each size is compiled in a file of its own.
template <int kSize>
OneLossLauncher<kSize> find_one_loss(const char* name, const double* parameters);
template <>
OneLossLauncher<2> find_one_loss<2>(const char* name, const double* parameters);
template <>
OneLossLauncher<4> find_one_loss<4>(const char* name, const double* parameters);
template <>
OneLossLauncher<8> find_one_loss<8>(const char* name, const double* parameters);

#define FASTLOSS_FIND_ONE_LOSS(NAME, ...) \
  if (!std::strcmp(name, #NAME))          \
    return launcher_for<NAME<typename Predictions<kFileSize>::T>, kFileSize>(parameters, 0);
#define FASTLOSS_INSTANTIATE_ONE_LOSS(SIZE)                                               \
  template <>                                                                             \
  OneLossLauncher<SIZE> find_one_loss<SIZE>(const char* name, const double* parameters) { \
    constexpr int kFileSize = SIZE;                                                       \
    FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_FIND_ONE_LOSS)                                   \
    return nullptr;                                                                       \
  }

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
