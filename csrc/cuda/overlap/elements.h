// Tiles of dense labels whose predictions are independent of one another: each thread takes some of
// the elements.
#pragma once

#include "cuda/elementwise/terms.h"
#include "cuda/overlap/tile.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Elements that a thread processes at once, so that their loads overlap.
constexpr int kElements = 4;

// Calls body(offsets, columns, counts) for each kElements elements of this thread; counts[i] says
// whether element i exists.
template <class Tile, class Body>
__device__ __forceinline__ void for_each_elements(const Tile& tile, const Body& body) {
  using Offset = typename Tile::Offset;
  const Offset size = static_cast<Offset>(tile.count) * tile.classes;
  for (Offset base = static_cast<Offset>(threadIdx.x); base < size; base += kElements * kThreads) {
    Offset offset[kElements];
    int column[kElements];
    bool counts[kElements];
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i) {
      counts[i] = base + i * kThreads < size;
      const int64_t element = counts[i] ? base + i * kThreads : base;
      const int64_t row = tile.layout.by_classes(element);
      column[i] = static_cast<int>(element - row * tile.classes);
      offset[i] = static_cast<Offset>(row) * tile.stride + column[i];
    }
    body(offset, column, counts);
  }
}

// Adds to the sums of the fused terms, and leaves probabilities in the rows.
template <class Tile, class T>
__device__ __forceinline__ void accumulate_elements(const Tile& tile, const TaggedTerms<T>& terms) {
  using Offset = typename Tile::Offset;
  for (int k = 0; k < terms.count; ++k) {
    T sum = 0;
    for_each_elements(tile, [&](const Offset(&offset)[kElements], const int (&)[kElements],
                                const bool (&counts)[kElements]) {
      visit_term(terms.terms[k], false, [&](const auto& loss) {
        FASTLOSS_UNROLL
        for (int i = 0; i < kElements; ++i) {
          const Point<T> point = evaluate(loss, tile.labels[offset[i]], tile.rows[offset[i]], T(1));
          sum += counts[i] ? point.value : T(0);
        }
      });
    });
    sum = lanes_sum(sum, kWarp);
    if (threadIdx.x % kWarp == 0) tile.sum(k, static_cast<int>(threadIdx.x) / kWarp) += double(sum);
  }
  if (tile.pass.activation != FASTLOSS_SIGMOID) return;
  for_each_elements(tile, [&](const Offset(&offset)[kElements], const int (&)[kElements],
                              const bool (&counts)[kElements]) {
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i)
      if (counts[i]) tile.rows[offset[i]] = sigmoid(tile.rows[offset[i]]);
  });
}

// Leaves the gradient in rows of predictions that are not activated yet.
template <class Tile, class T>
__device__ __forceinline__ void differentiate_elements(const Tile& tile,
                                                       const TaggedTerms<T>& terms,
                                                       double upstream) {
  using Offset = typename Tile::Offset;
  const bool activates = tile.pass.activation == FASTLOSS_SIGMOID;
  for_each_elements(tile, [&](const Offset(&offset)[kElements], const int (&column)[kElements],
                              const bool (&counts)[kElements]) {
    T label[kElements], prediction[kElements], slope[kElements];
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i) {
      label[i] = tile.labels[offset[i]];
      prediction[i] = tile.rows[offset[i]];
      const T p = activates ? sigmoid(prediction[i]) : prediction[i];
      slope[i] = tile.by_prediction[column[i]];
      if (tile.pass.squared) slope[i] *= T(2) * p;
      slope[i] += tile.by_intersection[column[i]] * label[i];
      if (activates) slope[i] *= p * (T(1) - p);
    }
    for (int k = 0; k < terms.count; ++k) {
      const T scale = T(tile.pass.scales[1 + k] * upstream);
      visit_term(terms.terms[k], false, [&](const auto& loss) {
        FASTLOSS_UNROLL
        for (int i = 0; i < kElements; ++i)
          slope[i] += evaluate(loss, label[i], prediction[i], T(1)).slope * scale;
      });
    }
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i)
      if (counts[i]) tile.rows[offset[i]] = slope[i];
  });
}

// Leaves the gradient in rows of probabilities, without fused terms.
template <class Tile>
__device__ __forceinline__ void differentiate_probabilities(const Tile& tile) {
  using T = typename Tile::T;
  const int lanes = tile.layout.lanes, lane = static_cast<int>(threadIdx.x) % lanes;
  for (int position = static_cast<int>(threadIdx.x) / lanes; position < tile.count;
       position += kThreads / lanes)
    for (int c = lane; c < tile.classes; c += lanes) {
      T* const at = tile.rows + position * tile.stride + c;
      const T p = *at;
      T slope = tile.by_prediction[c];
      if (tile.pass.squared) slope *= T(2) * p;
      slope += tile.by_intersection[c] * tile.labels[position * tile.stride + c];
      if (tile.pass.activation == FASTLOSS_SIGMOID) slope *= p * (T(1) - p);
      *at = slope;
    }
}

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
