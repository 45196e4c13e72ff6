// Short rows, and rows whose classes are strided, kRowLanes at a time: the lanes are rows.
#pragma once

#include "cpu/rowwise/interleave.h"
#include "cpu/rowwise/row_outputs.h"
#include "cpu/rowwise/row_tasks.h"

namespace fastloss {

template <class T>
class InterleavedPass {
 public:
  InterleavedPass(const RowwisePlan<T>& plan, const Isa& isa, RowTaskReader<T>* tasks,
                  const RowOutputs<T>& outputs)
      : plan_(plan),
        matrices_(plan.call.classes, plan.call.inner, isa),
        size_(plan.call.classes * kRowLanes),
        tasks_(*tasks),
        outputs_(outputs) {}

  // The sum of the losses of [begin, end); `begin` is that of a block of kRowLanes rows.
  double run(int64_t begin, int64_t end) const;

 private:
  struct Block;

  void load_prediction(Block* block) const;
  void find_hits(Block* block) const;
  void first_largest(const T* x, int32_t* classes) const;
  void normalize(Normalization normalization, const T* x, uintptr_t ahead, T* exps,
                 RowNormalizer<T>* normalizer) const;
  // The losses of the rows, and their gradient by scaled logits.
  void evaluate_at_label(Block* block) const;
  void write_gradient_at_label(const int64_t* index, const Lanes<T>& slope, Block* block) const;
  void evaluate_dense(Block* block) const;
  void load_labels(Block* block) const;
  // What all losses have: z_loss, weights, skipped rows.
  void finish_values(Block* block) const;
  void store_gradient(const Block& block) const;

  const RowwisePlan<T>& plan_;
  const InterleavedRows<T> matrices_;
  const int64_t size_;  // of a block
  RowTaskReader<T>& tasks_;
  const RowOutputs<T>& outputs_;
};

extern template class InterleavedPass<float>;
extern template class InterleavedPass<double>;

}  // namespace fastloss
