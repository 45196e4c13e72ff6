#include "cpu/overlap/sums.h"

namespace fastloss {
namespace {

// After so many additions in T the sums go on in double.
constexpr int64_t kAdditions = 64;

template <class T>
double joined(const T* x, int64_t count) {
  return count == 1 ? double(x[0]) : sum_of_lanes([&](int64_t k) { return double(x[k]); });
}

}  // namespace

PartialSums::PartialSums(const OverlapLayout& layout, int64_t fused_terms)
    : layout_(layout),
      fused_term_count_(fused_terms),
      columns_(layout.chunks() * layout.columns),
      fused_terms_(layout.chunks() * fused_terms),
      positions_(layout.chunks()) {}

void PartialSums::put(const OverlapChunk& chunk, const ChunkSums& sums) {
  std::copy(sums.columns.begin(), sums.columns.end(),
            columns_.begin() + chunk.index * layout_.columns);
  std::copy(sums.fused_terms.begin(), sums.fused_terms.end(),
            fused_terms_.begin() + chunk.index * fused_term_count_);
  positions_[chunk.index] = {sums.positions, sums.bad_position};
}

TensorSums PartialSums::total() const {
  TensorSums total;
  total.table.resize(layout_.images * layout_.classes);
  total.fused_terms.assign(fused_term_count_, 0.0);
  for (int64_t chunk = 0; chunk < layout_.chunks(); ++chunk) {
    const int64_t segment = layout_.chunk(chunk).segment;
    for (int64_t column = 0; column < layout_.columns; ++column) {
      OverlapSums& to = total.table[layout_.table_index(segment, column)];
      const OverlapSums& part = columns_[chunk * layout_.columns + column];
      to.intersection += part.intersection;
      to.prediction += part.prediction;
      to.label += part.label;
      to.positions += double(positions_[chunk].count);
    }
    for (int64_t i = 0; i < fused_term_count_; ++i)
      total.fused_terms[i] += fused_terms_[chunk * fused_term_count_ + i];
    total.positions += positions_[chunk].count;
    total.bad_position = std::min(total.bad_position, positions_[chunk].bad);
  }
  return total;
}

template <class T>
SumCollector<T>::SumCollector(const OverlapPlan<T>& plan, T* running)
    : plan_(plan), running_(running) {
  clear();
}

template <class T>
void SumCollector<T>::clear() {
  std::fill(running_, running_ + 3 * plan_.layout.sum_period, T(0));
  additions_ = 0;
}

template <class T>
void SumCollector<T>::add(const T* label, const T* probability, int64_t count, ChunkSums* sums) {
  const int64_t period = plan_.layout.sum_period;
  for (int64_t repeats = count / period; repeats;) {
    const int64_t some = std::min(repeats, kAdditions - additions_);
    plan_.overlap_ops.accumulate(label, probability, period, some, plan_.call.squared, running_);
    if (label) label += some * period;
    probability += some * period;
    repeats -= some;
    additions_ += some;
    if (additions_ == kAdditions) flush(sums);
  }
}

template <class T>
void SumCollector<T>::flush(ChunkSums* sums) {
  const OverlapLayout& layout = plan_.layout;
  const int64_t period = layout.sum_period;
  const int64_t sums_of_column = layout.interleaved || layout.columns == 1 ? int64_t(kRowLanes) : 1;
  for (int64_t i = 0, column = 0; i < period; i += sums_of_column) {
    OverlapSums& to = sums->columns[column];
    to.intersection += joined(running_ + i, sums_of_column);
    to.prediction += joined(running_ + period + i, sums_of_column);
    to.label += joined(running_ + 2 * period + i, sums_of_column);
    if (++column == layout.columns) column = 0;
  }
  clear();
}

template class SumCollector<float>;
template class SumCollector<double>;

}  // namespace fastloss
