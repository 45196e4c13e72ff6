// What both passes over memory take as given: the layout, the kernels, and the losses that share
// the passes.
#pragma once

#include <vector>

#include "api/fastloss.h"
#include "cpu/kernels/isa.h"
#include "cpu/kernels/overlap.h"
#include "cpu/overlap/layout.h"
#include "cpu/rowwise/interleave.h"

namespace fastloss {

// A loss of the same labels and predictions: an elementwise one in memory order, a rowwise one of
// interleaved positions.
template <class T>
struct FusedTerm {
  const double* parameters;
  TileLoop<T> elementwise;
  RowLoops<T> rowwise;
};

template <class T>
struct OverlapPlan {
  OverlapPlan(const fastloss_overlap& call, const Isa& isa);

  const fastloss_overlap& call;
  const TileOps<T>& ops;
  const RowOps<T>& row_ops;
  const OverlapOps<T>& overlap_ops;
  const OverlapLayout layout;
  const Matrix label, prediction;
  const InterleavedRows<T> rows;  // the positions, where they are interleaved
  std::vector<FusedTerm<T>> fused_terms;
};

}  // namespace fastloss
