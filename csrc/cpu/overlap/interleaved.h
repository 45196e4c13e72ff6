// Both passes by positions, for calls that need all classes of a position at once: of a softmax, of
// class labels, or with positions that may be ignored.
#pragma once

#include "cpu/overlap/groups.h"
#include "cpu/overlap/interleaved_positions.h"

namespace fastloss {

template <class T>
class InterleavedStrategy {
 public:
  explicit InterleavedStrategy(const OverlapPlan<T>& plan);

  void sum(const OverlapChunk& chunk, ChunkSums* sums) const;
  void differentiate(const OverlapChunk& chunk, const LossDerivatives<T>& loss, char* gradient,
                     bool stream) const;

 private:
  using Buffers = InterleavedBuffers<T>;
  using Positions = InterleavedPositions<T>;

  template <class Body>
  void for_each_positions(const OverlapChunk& chunk, const Buffers& buffers,
                          const Body& body) const;
  void add_class_labels(const Positions& positions, const T* probability, T* sums) const;
  void at_label(const FusedTerm<T>& term, const Buffers& buffers, const Positions& positions,
                Lanes<T>* value, Lanes<T>* derivative) const;
  void row_sums(const FusedTerm<T>& term, const Positions& positions, Lanes<T> (&sums)[3]) const;
  Lanes<T> derivative_at_label(const LossDerivatives<T>& loss, const Buffers& buffers,
                               const Positions& positions) const;
  void add_row_gradients(const LossDerivatives<T>& loss, const Buffers& buffers,
                         Positions* positions) const;

  const OverlapPlan<T>& plan_;
  const InterleavedReader<T> reader_;
};

}  // namespace fastloss
