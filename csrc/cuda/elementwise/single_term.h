// The kernels of a single loss with a scalar reduction: its sum, sum and gradient, or gradient.
#pragma once

#include <cstring>

#include "cuda/common/specialization.h"
#include "cuda/elementwise/pass.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Each warp has 512 bytes to 1 KiB of loads in flight before it waits for the first.
template <int kSize>
using SingleTermTile = Tile<kSize, kSize == 2 ? 1 : 2>;

// The second bound, of blocks per multiprocessor, is the highest without register spills.
template <class Loss, int kSize, bool kValue, bool kSlope>
__global__ void __launch_bounds__(kThreads, kSize == 8 ? 2 : 4)
    single_term(const Loss functor, const double term_scale,
                const ElementwisePass<typename Predictions<kSize>::T> pass) {
  using T = typename Predictions<kSize>::T;
  using Layout = SingleTermTile<kSize>;
  Loss loss = functor;
  if constexpr (asks_binary<Loss>::value) {
    if (!pass.begins(&loss.binary)) return;
  }
  T scale = 0;
  if constexpr (kSlope) scale = pass.scale(term_scale);

  const int64_t end = pass.pieces.end(blockIdx.x);
  double sum = 0;
  for (int64_t begin = pass.pieces.begin(blockIdx.x); begin < end; begin += Layout::kElements) {
    Inputs<T, Layout> in;
    in.template load<kSize>(pass, begin, begin, end);
    if constexpr (asks_binary<Loss>::value) {
      if (loss.binary) in.check_binary(pass, begin, end);
    }
    T values[Layout::kVectors];
    FASTLOSS_UNROLL
    for (int v = 0; v < Layout::kVectors; ++v) {
      T column[Layout::kWidth], weight[Layout::kWidth], slope[Layout::kWidth];
      FASTLOSS_UNROLL
      for (int i = 0; i < Layout::kWidth; ++i) column[i] = weight[i] = T(1);
      if (pass.column.data) pass.column.template multiply<Layout::kWidth>(in.first[v], column);
      if (pass.weight.data) pass.weight.template multiply<Layout::kWidth>(in.first[v], weight);
      if (!kValue && pass.upstream_of_row.data)
        pass.upstream_of_row.template multiply<Layout::kWidth>(in.first[v], weight);
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
        store_numbers<kSize, Layout::kWidth>(slope, pass.y_pred_dtype, in.first[v], begin, end,
                                             pass.gradient);
    }
    if constexpr (kValue) sum += double(tree_sum(values));
  }
  if constexpr (kValue) {
    sum = block_sum(sum);
    if (threadIdx.x == 0) pass.partials[blockIdx.x] = sum;
  }
}

// Starts the kernel for the outputs that the pass has.
template <int kSize>
using SingleTermLauncher = int (*)(const double* parameters, double term_scale,
                                   const ElementwisePass<typename Predictions<kSize>::T>& pass,
                                   void* stream);

template <class Loss, int kSize>
int launch_single_term(const double* parameters, double term_scale,
                       const ElementwisePass<typename Predictions<kSize>::T>& pass, void* stream) {
  const Loss loss = functor_of<Loss>(parameters);
  const auto kernel = !pass.gradient  ? single_term<Loss, kSize, true, false>
                      : pass.partials ? single_term<Loss, kSize, true, true>
                                      : single_term<Loss, kSize, false, true>;
  return launch(kernel, pass.pieces.count, kThreads, 0, stream, loss, term_scale, pass);
}

template <class Loss, int kSize>
SingleTermLauncher<kSize> launcher_for(const double* parameters) {
  using Special = typename Specialization<Loss>::type;
  if constexpr (!std::is_void<Special>::value)
    if (Specialization<Loss>::applies(parameters)) return &launch_single_term<Special, kSize>;
  return &launch_single_term<Loss, kSize>;
}

// For the name of a known loss. Each size is compiled in a file of its own, in parallel.
template <int kSize>
SingleTermLauncher<kSize> find_single_term(const char* name, const double* parameters);
template <>
SingleTermLauncher<2> find_single_term<2>(const char* name, const double* parameters);
template <>
SingleTermLauncher<4> find_single_term<4>(const char* name, const double* parameters);
template <>
SingleTermLauncher<8> find_single_term<8>(const char* name, const double* parameters);

#define FASTLOSS_FIND_SINGLE_TERM(NAME, ...) \
  if (!std::strcmp(name, #NAME))             \
    return launcher_for<NAME<typename Predictions<kFileSize>::T>, kFileSize>(parameters);
#define FASTLOSS_INSTANTIATE_SINGLE_TERM(SIZE)                                                  \
  template <>                                                                                   \
  SingleTermLauncher<SIZE> find_single_term<SIZE>(const char* name, const double* parameters) { \
    constexpr int kFileSize = SIZE;                                                             \
    FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_FIND_SINGLE_TERM)                                      \
    return nullptr;                                                                             \
  }

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
