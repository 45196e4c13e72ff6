// The kernels of the two passes of the overlap pattern: one for the sums of each class, one for the
// gradient.
#pragma once

#include "cuda/overlap/block_sums.h"
#include "cuda/overlap/elements.h"
#include "cuda/overlap/position.h"

namespace fastloss {
namespace FASTLOSS_ISA {

template <class T, OverlapCase kCase>
using FusedTerms =
    std::conditional_t<kCase == OverlapCase::independent_fused, TaggedTerms<T>, FusedRowLosses<T>>;

// Loads the derivatives of the group losses by the sums of each class of the tile's image, times
// what multiplies them in the total.
template <class Tile>
__device__ __forceinline__ void load_derivatives(const Tile& tile, double upstream) {
  using T = typename Tile::T;
  const auto& pass = tile.pass;
  for (int c = static_cast<int>(threadIdx.x); c < tile.classes; c += kThreads) {
    T by_intersection = 0, by_prediction = 0;
    if (c >= pass.first_class) {
      const int64_t group =
          tile.image * pass.groups_of_image + (pass.per_class ? c - pass.first_class : 0);
      double scale = pass.scales[0] * upstream;
      if (pass.weight.data) {
        T weight = 1;
        pass.weight.template multiply<1>(group, &weight);
        scale *= double(weight);
      }
      if (pass.upstream_of_group) scale *= double(pass.upstream_of_group[group]);
      const GroupLoss loss = pass.derivatives[tile.image * tile.classes + c];
      by_intersection = T(loss.d_intersection * scale);
      by_prediction = T(loss.d_prediction * scale);
    }
    tile.by_intersection[c] = by_intersection;
    tile.by_prediction[c] = by_prediction;
  }
}

// Blocks that share a multiprocessor: enough to hide latencies, few enough not to spill registers.
constexpr int min_blocks(int size, bool gradient, OverlapCase which, bool wide) {
  if (size == 8) return wide && !gradient ? 2 : 1;
  return wide || which == OverlapCase::independent_fused ? 2 : 3;
}

template <int kSize, bool kGradient, OverlapCase kCase, bool kWide>
__global__ void __launch_bounds__(kThreads, min_blocks(kSize, kGradient, kCase, kWide))
    overlap_pass(
        const __grid_constant__ OverlapPass<typename Predictions<kSize>::T> pass,
        const __grid_constant__ FusedTerms<typename Predictions<kSize>::T, kCase> fused_terms) {
  using Tile = OverlapTile<kSize, kCase, kWide, kGradient>;
  const OverlapLayout& layout = pass.layout;
  Tile tile(pass);
  OverlapBlockSums<Tile, kWide> sums(tile);
  const double upstream = pass.upstream ? double(*pass.upstream) : 1.0;
  // Elementwise fused terms may need the predictions before the sigmoid.
  const bool activates =
      pass.activation == FASTLOSS_SIGMOID && kCase != OverlapCase::independent_fused;
  for (int64_t unit = blockIdx.x; unit < layout.units(); unit += gridDim.x) {
    const int64_t image = layout.by_pieces(unit), piece = unit - image * layout.pieces;
    const int64_t first = piece * layout.tiles_of_piece;
    const int64_t next = first + layout.tiles_of_piece;
    const int64_t end = next < layout.tiles ? next : layout.tiles;
    if constexpr (!kGradient) sums.clear();
    for (int64_t at = first; at < end; ++at) {
      tile.begin(image, at);
      tile.load(activates);
      if (kGradient && at == first) load_derivatives(tile, upstream);
      __syncthreads();
      if constexpr (Tile::kByPosition) {
        const int group = static_cast<int>(threadIdx.x) / layout.lanes;
        for (int i = group; i < layout.positions_of_tile(); i += layout.groups()) {
          OverlapPosition<Tile> position(tile, fused_terms, i);
          if constexpr (kGradient)
            position.differentiate(upstream);
          else
            position.accumulate(tile.factors + i);
        }
      } else if constexpr (kCase == OverlapCase::independent_fused) {
        if constexpr (kGradient)
          differentiate_elements(tile, fused_terms, upstream);
        else
          accumulate_elements(tile, fused_terms);
      } else if constexpr (kGradient) {
        differentiate_probabilities(tile);
      }
      __syncthreads();
      if constexpr (kGradient)
        tile.store();
      else
        sums.add();
      __syncthreads();
    }
    if constexpr (!kGradient) sums.write(piece);
  }
}

template <class T>
TaggedTerm<T> tagged(const fastloss_term& term, const TaggedTerms<T>&) {
  return {term, 1};
}
template <class T>
FusedRowLoss<T> tagged(const fastloss_term& term, const FusedRowLosses<T>&) {
  return FusedRowLoss<T>(term);
}

template <int kSize, OverlapCase kCase>
int start_overlap_pass(const fastloss_overlap& call,
                       const OverlapPass<typename Predictions<kSize>::T>& pass, void* stream) {
  using T = typename Predictions<kSize>::T;
  FusedTerms<T, kCase> fused_terms{};
  fused_terms.count = call.fused_term_count;
  for (int32_t k = 0; k < call.fused_term_count; ++k)
    fused_terms.terms[k] = tagged(call.fused_terms[k], fused_terms);
  const auto start = [&](auto gradient) {
    constexpr bool kGradient = decltype(gradient)::value;
    const auto kernel = pass.layout.wide ? overlap_pass<kSize, kGradient, kCase, true>
                                         : overlap_pass<kSize, kGradient, kCase, false>;
    const int64_t shared = pass.layout.shared_bytes(sizeof(T), slot_bytes<T>(kCase, kGradient));
    return launch(kernel, pass.layout.blocks(), kThreads, shared, stream, pass, fused_terms);
  };
  return pass.gradient ? start(std::true_type()) : start(std::false_type());
}

#define FASTLOSS_INSTANTIATE_OVERLAP_PASS(SIZE)                                                  \
  template <>                                                                                    \
  int launch_overlap_pass<SIZE>(const fastloss_overlap& call,                                    \
                                const OverlapPass<Predictions<SIZE>::T>& pass, void* stream) {   \
    const auto start = call.sparse         ? start_overlap_pass<SIZE, OverlapCase::class_labels> \
                       : by_position(call) ? start_overlap_pass<SIZE, OverlapCase::label_rows>   \
                       : call.fused_term_count                                                   \
                           ? start_overlap_pass<SIZE, OverlapCase::independent_fused>            \
                           : start_overlap_pass<SIZE, OverlapCase::independent>;                 \
    return start(call, pass, stream);                                                            \
  }

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
