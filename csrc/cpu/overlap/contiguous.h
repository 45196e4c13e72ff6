// Both passes in memory order, for calls that compute each element without the others of its
// position. A chunk is taken block by block, each small enough for the first cache.
#pragma once

#include "cpu/overlap/groups.h"
#include "cpu/overlap/packed_labels.h"

namespace fastloss {

template <class T>
class ContiguousStrategy {
 public:
  ContiguousStrategy(const OverlapPlan<T>& plan, bool gradient_follows);

  void sum(const OverlapChunk& chunk, ChunkSums* sums);
  void differentiate(const OverlapChunk& chunk, const LossDerivatives<T>& loss, char* gradient,
                     bool stream) const;

 private:
  struct Buffers;
  struct Block;

  bool has_intermediates() const;
  int64_t block_size() const;
  template <class Body>
  void for_each_block(const OverlapChunk& chunk, bool for_gradient, const Buffers& buffers,
                      const Body& body) const;
  const T* load(const Matrix& from, const Block& block, T* buffer) const;
  void load_label(const OverlapChunk& chunk, bool packed, const Buffers& buffers,
                  Block* block) const;
  void load_prediction(const Buffers& buffers, Block* block) const;

  const OverlapPlan<T>& plan_;
  PackedLabels<T> packed_labels_;
};

}  // namespace fastloss
