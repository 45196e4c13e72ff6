// The two walks of the overlap pattern: for the sums of each class, and for the gradient.
#pragma once

#include "cuda/overlap/positions.h"

namespace fastloss {
namespace FASTLOSS_ISA {

// Calls body(places, columns, index of the first, counts) for the elements of a tile of which the
// thread takes some, kElements at a time.
constexpr int kElements = 4;

template <class Tile, class Body>
__device__ __forceinline__ void each_elements(const Tile& tile, const Body& body) {
  using Place = typename Tile::Place;
  const Place size = static_cast<Place>(tile.count) * tile.classes;
  for (Place base = static_cast<Place>(threadIdx.x); base < size; base += kElements * kThreads) {
    Place place[kElements];
    int column[kElements];
    bool counts[kElements];
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i) {
      counts[i] = base + i * kThreads < size;
      const int64_t element = counts[i] ? base + i * kThreads : base;
      const int64_t row = tile.layout.by_classes(element);
      column[i] = static_cast<int>(element - row * tile.classes);
      place[i] = static_cast<Place>(row) * tile.stride + column[i];
    }
    body(place, column, counts);
  }
}

// Adds up the fused_terms of each element, and leaves its share in its place.
template <class Tile, class T>
__device__ __forceinline__ void collect_elements(const Tile& tile, const BoxedTerms<T>& terms) {
  using Place = typename Tile::Place;
  for (int k = 0; k < terms.count; ++k) {
    T sum = 0;
    each_elements(tile, [&](const Place(&place)[kElements], const int (&)[kElements],
                            const bool (&counts)[kElements]) {
      unbox(terms.terms[k], false, [&](const auto& loss) {
        FASTLOSS_UNROLL
        for (int i = 0; i < kElements; ++i) {
          const Point<T> point = evaluate(loss, tile.labels[place[i]], tile.rows[place[i]], T(1));
          sum += counts[i] ? point.value : T(0);
        }
      });
    });
    sum = lanes_sum(sum, kWarp);
    if (threadIdx.x % kWarp == 0)
      tile.sums[k * tile.layout.sums_of_slot() + threadIdx.x / kWarp] += double(sum);
  }
  if (tile.walk.activation != FASTLOSS_SIGMOID) return;
  each_elements(tile, [&](const Place(&place)[kElements], const int (&)[kElements],
                          const bool (&counts)[kElements]) {
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i)
      if (counts[i]) tile.rows[place[i]] = sigmoid(tile.rows[place[i]]);
  });
}

template <class Tile, class T>
__device__ __forceinline__ void differentiate_elements(const Tile& tile, const BoxedTerms<T>& terms,
                                                       double outside) {
  using Place = typename Tile::Place;
  const bool activates = tile.walk.activation == FASTLOSS_SIGMOID;
  each_elements(tile, [&](const Place(&place)[kElements], const int (&column)[kElements],
                          const bool (&counts)[kElements]) {
    T label[kElements], prediction[kElements], slope[kElements];
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i) {
      label[i] = tile.labels[place[i]];
      prediction[i] = tile.rows[place[i]];
      const T p = activates ? sigmoid(prediction[i]) : prediction[i];
      slope[i] = tile.by_prediction[column[i]];
      if (tile.walk.squared) slope[i] *= T(2) * p;
      slope[i] += tile.by_intersection[column[i]] * label[i];
      if (activates) slope[i] *= p * (T(1) - p);
    }
    for (int k = 0; k < terms.count; ++k) {
      const T scale = T(tile.walk.scales[1 + k] * outside);
      unbox(terms.terms[k], false, [&](const auto& loss) {
        FASTLOSS_UNROLL
        for (int i = 0; i < kElements; ++i)
          slope[i] += evaluate(loss, label[i], prediction[i], T(1)).slope * scale;
      });
    }
    FASTLOSS_UNROLL
    for (int i = 0; i < kElements; ++i)
      if (counts[i]) tile.rows[place[i]] = slope[i];
  });
}

// Without fused_terms, of rows that hold shares.
template <class Tile>
__device__ __forceinline__ void differentiate_shares(const Tile& tile) {
  using T = typename Tile::T;
  const int lanes = tile.layout.lanes, lane = static_cast<int>(threadIdx.x) % lanes;
  for (int position = static_cast<int>(threadIdx.x) / lanes; position < tile.count;
       position += kThreads / lanes)
    for (int c = lane; c < tile.classes; c += lanes) {
      T* const at = tile.rows + position * tile.stride + c;
      const T p = *at;
      T slope = tile.by_prediction[c];
      if (tile.walk.squared) slope *= T(2) * p;
      slope += tile.by_intersection[c] * tile.labels[position * tile.stride + c];
      if (tile.walk.activation == FASTLOSS_SIGMOID) slope *= p * (T(1) - p);
      *at = slope;
    }
}

// The sums of class c over positions first, first + step ... of a tile: short chains of additions,
// which are added to `sums`.
template <class Tile>
__device__ __forceinline__ void add_class(const Tile& tile, int c, int first, int step,
                                          double* sums) {
  using T = typename Tile::T;
  const bool softmax = tile.walk.activation == FASTLOSS_SOFTMAX;
  T intersection = 0, prediction = 0, label = 0;
  for (int position = first; position < tile.count; position += step) {
    T p = tile.rows[position * tile.stride + c];
    if (softmax) p *= tile.factors[position];
    prediction += tile.walk.squared ? p * p : p;
    if constexpr (Tile::kDense) {
      const T y = tile.labels[position * tile.stride + c];
      intersection += y * p;
      label += tile.walk.squared ? y * y : y;
    } else if (tile.marks[position] == c) {
      intersection += p;
      label += T(1);
    }
  }
  sums[0] += double(intersection), sums[1] += double(prediction), sums[2] += double(label);
}

template <class T, Meets kMeets>
using Companions = std::conditional_t<kMeets == Meets::elements, BoxedTerms<T>, BoxedRows<T>>;

// What a block does with the sums it has.
template <class Tile, bool kWide>
class OverlapSumsOf {
 public:
  __device__ __forceinline__ explicit OverlapSumsOf(const Tile& tile)
      : tile_(tile),
        slices_(kThreads / tile.classes),
        slice_(static_cast<int>(threadIdx.x) / tile.classes),
        class_(static_cast<int>(threadIdx.x) - slice_ * tile.classes) {}

  __device__ __forceinline__ void clear() {
    sums_[0] = sums_[1] = sums_[2] = 0;
    if constexpr (kWide)
      for (int64_t i = threadIdx.x; i < 3 * int64_t(tile_.classes); i += kThreads)
        tile_.wide_sums[i] = 0;
    const int64_t room = tile_.layout.slots * tile_.layout.sums_of_slot();
    for (int64_t i = threadIdx.x; i < room; i += kThreads) tile_.sums[i] = 0;
    __syncthreads();
  }

  __device__ __forceinline__ void add() {
    if constexpr (kWide) {
      for (int c = static_cast<int>(threadIdx.x); c < tile_.classes; c += kThreads)
        add_class(tile_, c, 0, 1, tile_.wide_sums + 3 * int64_t(c));
    } else if (slice_ < slices_) {
      add_class(tile_, class_, slice_, slices_, sums_);
    }
  }

  // Writes what the piece adds up to.
  __device__ __forceinline__ void write(int64_t piece) {
    const OverlapLayout& layout = tile_.layout;
    write_fused_terms(piece);
    double* const to =
        tile_.walk.partials + tile_.image * tile_.classes * 3 * layout.pieces + piece;
    if constexpr (kWide) {
      for (int64_t i = threadIdx.x; i < 3 * int64_t(tile_.classes); i += kThreads)
        to[i * layout.pieces] = tile_.wide_sums[i];
    } else {
      // (3, threads): slices are added to those in the lower half until one is left.
      double* const table = static_cast<double*>(shared_memory());
      FASTLOSS_UNROLL
      for (int k = 0; k < 3; ++k) table[k * kThreads + threadIdx.x] = sums_[k];
      __syncthreads();
      for (int left = slices_; left > 1;) {
        const int half = (left + 1) / 2;
        if (slice_ + half < left) FASTLOSS_UNROLL
        for (int k = 0; k < 3; ++k)
          table[k * kThreads + threadIdx.x] +=
              table[k * kThreads + threadIdx.x + half * tile_.classes];
        __syncthreads();
        left = half;
      }
      if (slice_ == 0) FASTLOSS_UNROLL
      for (int k = 0; k < 3; ++k)
        to[(3 * class_ + k) * layout.pieces] = table[k * kThreads + threadIdx.x];
    }
    __syncthreads();
  }

 private:
  __device__ __forceinline__ void write_fused_terms(int64_t piece) {
    const OverlapLayout& layout = tile_.layout;
    const int64_t room = layout.sums_of_slot();
    for (int64_t k = 0; k < layout.slots; ++k) {
      const double sum = block_sum(threadIdx.x < room ? tile_.sums[k * room + threadIdx.x] : 0.0);
      if (threadIdx.x == 0)
        tile_.walk.values[k * layout.units() + tile_.image * layout.pieces + piece] = sum;
    }
    __syncthreads();
  }

  const Tile& tile_;
  const int slices_, slice_, class_;
  double sums_[3];
};

// The slopes of each class of an image, as the gradient wants them.
template <class Tile>
__device__ __forceinline__ void load_slopes(const Tile& tile, double outside) {
  using T = typename Tile::T;
  const auto& walk = tile.walk;
  for (int c = static_cast<int>(threadIdx.x); c < tile.classes; c += kThreads) {
    T by_intersection = 0, by_prediction = 0;
    if (c >= walk.first_class) {
      const int64_t group =
          tile.image * walk.groups_of_image + (walk.per_class ? c - walk.first_class : 0);
      double scale = walk.scales[0] * outside;
      if (walk.weight.data) {
        T weight = 1;
        walk.weight.template multiply<1>(group, &weight);
        scale *= double(weight);
      }
      if (walk.upstream_of_group) scale *= double(walk.upstream_of_group[group]);
      const GroupLoss point = walk.points[tile.image * tile.classes + c];
      by_intersection = T(point.d_intersection * scale);
      by_prediction = T(point.d_prediction * scale);
    }
    tile.by_intersection[c] = by_intersection;
    tile.by_prediction[c] = by_prediction;
  }
}

// Enough blocks share a multiprocessor to keep it busy, few enough to keep registers from spilling.
constexpr int blocks_of(int size, Meets meets, bool wide) {
  return size == 8 ? 1 : meets == Meets::elements || wide ? 2 : 3;
}

template <int kSize, bool kGradient, Meets kMeets, bool kWide>
__global__ void __launch_bounds__(kThreads, blocks_of(kSize, kMeets, kWide)) overlap_walk(
    const __grid_constant__ OverlapWalk<typename Predictions<kSize>::T> walk,
    const __grid_constant__ Companions<typename Predictions<kSize>::T, kMeets> fused_terms) {
  using Tile = OverlapTile<kSize, kMeets, kWide>;
  const OverlapLayout& layout = walk.layout;
  Tile tile(walk);
  OverlapSumsOf<Tile, kWide> sums(tile);
  const double outside = walk.upstream ? double(*walk.upstream) : 1.0;
  const bool activates = walk.activation == FASTLOSS_SIGMOID && kMeets != Meets::elements;
  for (int64_t unit = blockIdx.x; unit < layout.units(); unit += gridDim.x) {
    const int64_t image = layout.by_pieces(unit), piece = unit - image * layout.pieces;
    const int64_t first = piece * layout.tiles_of_piece;
    const int64_t next = first + layout.tiles_of_piece;
    const int64_t end = next < layout.tiles ? next : layout.tiles;
    if constexpr (!kGradient) sums.clear();
    for (int64_t at = first; at < end; ++at) {
      tile.begin(image, at);
      tile.load(activates);
      if (kGradient && at == first) load_slopes(tile, outside);
      __syncthreads();
      if constexpr (Tile::kByPosition) {
        const int groups = layout.groups();
        const int group = static_cast<int>(threadIdx.x) / layout.lanes;
        for (int position = group; position < layout.positions_of_tile(); position += groups) {
          OverlapPosition<Tile> of(tile, fused_terms, position);
          if constexpr (kGradient)
            of.differentiate(tile.sums + group, outside);
          else
            of.collect(tile.sums + group, tile.factors + position);
        }
      } else if constexpr (kMeets == Meets::elements) {
        if constexpr (kGradient)
          differentiate_elements(tile, fused_terms, outside);
        else
          collect_elements(tile, fused_terms);
      } else if constexpr (kGradient) {
        differentiate_shares(tile);
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

template <int kSize, Meets kMeets>
int start_overlap_walk(const fastloss_overlap& call,
                       const OverlapWalk<typename Predictions<kSize>::T>& walk, void* stream) {
  using T = typename Predictions<kSize>::T;
  using Boxed = Companions<T, kMeets>;
  Boxed fused_terms{};
  fused_terms.count = call.fused_term_count;
  for (int32_t k = 0; k < call.fused_term_count; ++k)
    fused_terms.terms[k] = std::decay_t<decltype(fused_terms.terms[k])>(call.fused_terms[k], 1.0);
  const auto start = [&](auto gradient) {
    constexpr bool kGradient = decltype(gradient)::value;
    const auto kernel = walk.layout.wide ? overlap_walk<kSize, kGradient, kMeets, true>
                                         : overlap_walk<kSize, kGradient, kMeets, false>;
    return launch(kernel, walk.layout.blocks(), kThreads, walk.layout.shared_bytes(sizeof(T)),
                  stream, walk, fused_terms);
  };
  return walk.gradient ? start(std::true_type()) : start(std::false_type());
}

#define FASTLOSS_INSTANTIATE_OVERLAP_WALK(SIZE)                                                \
  template <>                                                                                  \
  int launch_overlap_walk<SIZE>(const fastloss_overlap& call,                                  \
                                const OverlapWalk<Predictions<SIZE>::T>& walk, void* stream) { \
    const auto start = call.sparse             ? start_overlap_walk<SIZE, Meets::classes>      \
                       : by_position(call)     ? start_overlap_walk<SIZE, Meets::rows>         \
                       : call.fused_term_count ? start_overlap_walk<SIZE, Meets::elements>     \
                                               : start_overlap_walk<SIZE, Meets::shares>;      \
    return start(call, walk, stream);                                                          \
  }

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
