// The sums of a chunk, and of all chunks.
#pragma once

#include <limits>
#include <vector>

#include "cpu/overlap/plan.h"
#include "losses/overlap.h"

namespace fastloss {

constexpr int64_t kNoPosition = std::numeric_limits<int64_t>::max();

struct ChunkSums {
  std::vector<OverlapSums> columns;
  std::vector<double> fused_terms;
  int64_t positions = 0;               // with a part in the sums of a column
  int64_t bad_position = kNoPosition;  // the first whose label is neither a class nor ignored

  ChunkSums(int64_t columns, int64_t fused_terms) : columns(columns), fused_terms(fused_terms) {}
};

struct TensorSums {
  std::vector<OverlapSums> table;  // (images, classes)
  std::vector<double> fused_terms;
  int64_t positions = 0;
  int64_t bad_position = kNoPosition;
};

// Threads put the sums of their chunks here. They are added up in the order of the chunks, so that
// the bits of a result do not depend on the threads.
class PartialSums {
 public:
  PartialSums(const OverlapLayout& layout, int64_t fused_terms);
  void put(const OverlapChunk& chunk, const ChunkSums& sums);
  TensorSums total() const;

 private:
  struct Positions {
    int64_t count, bad;
  };
  const OverlapLayout& layout_;
  const int64_t fused_term_count_;
  std::vector<OverlapSums> columns_;  // (chunks, columns)
  std::vector<double> fused_terms_;   // (chunks, fused_terms)
  std::vector<Positions> positions_;  // (chunks,)
};

// The sum of a number for each lane: four sums, as a single one would wait for each addition.
template <class Lane>
double sum_of_lanes(const Lane& lane) {
  constexpr int64_t kSums = 4;
  double sums[kSums] = {};
  for (int64_t k = 0; k < kRowLanes; k += kSums)
    for (int64_t s = 0; s < kSums; ++s) sums[s] += lane(k + s);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Adds blocks up to the sums of a chunk: short chains of additions in T, then double.
template <class T>
class SumCollector {
 public:
  // `running` has room for the sums of a period, (3, sum_period).
  SumCollector(const OverlapPlan<T>& plan, T* running);
  // `count` is a multiple of sum_period. Without labels only predictions are added; the caller has
  // added the rest to running().
  void add(const T* label, const T* probability, int64_t count, ChunkSums* sums);
  void flush(ChunkSums* sums);
  T* running() { return running_; }

 private:
  void clear();

  const OverlapPlan<T>& plan_;
  T* const running_;
  int64_t additions_ = 0;
};

}  // namespace fastloss
