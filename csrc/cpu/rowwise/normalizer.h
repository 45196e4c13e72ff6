// What makes probabilities of contiguous rows: their softmax, or their sum.
#pragma once

#include <cmath>
#include <limits>

#include "cpu/rowwise/row_chunks.h"
#include "cpu/runtime/scratch.h"

namespace fastloss {

// Of a row of logits; of other rows `sum` alone is not 0.
struct Normalizer {
  double maximum, sum, log_sum;
  int64_t maximum_chunk;  // the first that has the maximum

  double log_sum_exp() const { return maximum + log_sum; }

  // For all of the row, with the maximum as the reference of its exponentials.
  template <class T>
  void put(RowNormalizer<T>* lanes) const {
    lanes->factor.lane[0] = T(1 / sum);
    lanes->shift.lane[0] = T(maximum);
    lanes->log_sum.lane[0] = T(log_sum);
  }
};

// One pass over a row finds its normalizer, a second one wants the exponentials again.
template <class T>
class RowSoftmax {
 public:
  // Longer rows take their exponentials twice, as cached ones would cost as much memory traffic as
  // the row.
  static constexpr int64_t kLongestCachedRow = int64_t(1) << 19;

  static int64_t bytes(const RowChunks<T>& chunks, int64_t classes) {
    return (kChunk + classes + kRowLanes + chunks.count()) * int64_t(sizeof(T)) + 3 * 64;
  }

  // `beside` is a matrix to fetch with the logits, or null.
  RowSoftmax(const RowwisePlan<T>& plan, const RowChunks<T>& chunks, const RowMatrix<T>& logits,
             const RowMatrix<T>* beside, bool caches, Scratch* scratch)
      : row_ops_(plan.row_ops), chunks_(chunks), logits_(logits), beside_(beside) {
    if (logits.normalization != Normalization::softmax) return;
    chunk_exps_ = scratch->take<T>(kChunk);
    if (!caches) return;
    row_exps_ = scratch->take<T>(ceil_div(plan.call.classes, kRowLanes) * kRowLanes);
    references_ = scratch->take<T>(chunks.count());
  }

  bool is_cached() const { return row_exps_; }

  Normalizer normalizer(int64_t row, T* buffer) const {
    constexpr T kNone = -std::numeric_limits<T>::infinity();
    Normalizer n = {-std::numeric_limits<double>::infinity(), 0, 0, 0};
    Lanes<T> lanes, reference;
    for (int64_t index = 0; index < chunks_.count(); ++index) {
      const Chunk chunk = chunks_.at(index);
      const T* const x = chunks_.load(logits_, row, chunk, buffer, nullptr);
      fill(&lanes, kNone);
      row_ops_.maxima(x, chunk.padded, &lanes);
      const T largest = row_ops_.maximum(lanes);
      const bool empty = largest == kNone;
      reference.lane[0] = empty ? T(0) : largest;
      fill(&lanes, T(-0.0));
      row_ops_.exps(x, chunk.padded, reference, false,
                    row_exps_ ? row_exps_ + chunk.begin : chunk_exps_, &lanes,
                    chunks_.address(logits_, row, chunk.begin + chunk.size),
                    beside_ ? chunks_.address(*beside_, row, chunk.begin) : 0);
      const double sum = double(row_ops_.sum(lanes));
      if (empty) {
        n.sum += sum;
      } else if (double(largest) > n.maximum) {
        n.sum = n.sum * std::exp(n.maximum - double(largest)) + sum;
        n.maximum = double(largest);
        n.maximum_chunk = index;
      } else {
        n.sum += sum * std::exp(double(largest) - n.maximum);
      }
      if (references_) references_[index] = largest;
    }
    n.log_sum = std::log(n.sum);
    return n;
  }

  // The exponentials of a chunk, and in `factor` what makes probabilities of them. `x` are its
  // logits, which only a softmax that is not cached reads.
  const T* exps(const Normalizer& n, const T* x, const Chunk& chunk, Lanes<T>* factor) const {
    if (row_exps_) {
      const double below = double(references_[chunk.index]) - n.maximum;
      factor->lane[0] = T((below == 0 ? 1 : std::exp(below)) / n.sum);
      return row_exps_ + chunk.begin;
    }
    Lanes<T> reference, sums;
    fill(&sums, T(-0.0));
    reference.lane[0] = T(n.maximum);
    factor->lane[0] = T(1 / n.sum);
    row_ops_.exps(x, chunk.padded, reference, false, chunk_exps_, &sums,
                  reinterpret_cast<uintptr_t>(x), 0);
    return chunk_exps_;
  }

 private:
  const RowOps<T>& row_ops_;
  const RowChunks<T>& chunks_;
  const RowMatrix<T>& logits_;
  const RowMatrix<T>* const beside_;
  T* chunk_exps_ = nullptr;                        // of one chunk
  T *row_exps_ = nullptr, *references_ = nullptr;  // where cached: of all chunks
};

// What a prediction counts for in the sum of its row.
template <class T>
T clipped(const RowwisePlan<T>& plan, T x) {
  Lanes<T> one, sums;
  fill(&one, x);
  fill(&sums, T(-0.0));
  plan.loops.sum_clipped(plan.call.parameters, one.lane, kRowLanes, &sums);
  return sums.lane[0];
}

template <class T>
Normalizer sum_normalizer(const RowwisePlan<T>& plan, const RowChunks<T>& chunks, int64_t row,
                          T* buffer) {
  Normalizer n = {};
  for (int64_t index = 0; index < chunks.count(); ++index) {
    const Chunk chunk = chunks.at(index);
    const T* const x = chunks.load(plan.prediction, row, chunk, buffer, nullptr);
    Lanes<T> lanes;
    fill(&lanes, T(-0.0));
    plan.loops.sum_clipped(plan.call.parameters, x, chunk.padded, &lanes);
    n.sum += double(plan.row_ops.sum(lanes));
    if (chunk.size < chunk.padded)
      n.sum -= double(chunk.padded - chunk.size) * double(clipped(plan, plan.prediction.pad));
  }
  return n;
}

}  // namespace fastloss
