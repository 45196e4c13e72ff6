// What the rowwise driver asks of an instruction set: loops over a block of kRowLanes lanes,
// element i being in lane i % kRowLanes. The lanes are either one row's classes, kRowLanes at a
// time, or as many rows interleaved, class after class. Blocks are whole: the driver fills them up.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"
#include "losses/rowwise_loss.h"

namespace fastloss {

// What makes probabilities p and their logarithms of a row's numbers: of logits x
// exp(x - reference) * factor and (x - shift) - log_sum, of others clipped(x) * factor.
template <class T>
struct RowNormalizer {
  Lanes<T> factor, shift, log_sum;
};

// One number per lane, or in lane 0 alone where all lanes are of one row.
template <class T>
struct RowState {
  RowNormalizer<T> label, prediction;
  Lanes<T> b, c;          // of what finalize() makes of the sums
  Lanes<T> scale;         // of the gradient
  Lanes<T> z_loss_slope;  // times p it is the derivative of z_loss by a logit
};

// Elements of rows; exponentials of those that are logits.
template <class T>
struct RowBlock {
  const T *label, *label_exps, *prediction, *prediction_exps;
  int64_t size;
};

// Of labels that are rows; see losses/rowwise.h.
template <class T>
struct DenseLoops {
  T pad_label, pad_prediction;
  void (*identity)(Lanes<T>* sums);
  // Adds a block's classes to the sums of each lane.
  void (*accumulate)(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                     bool interleaved, Lanes<T>* sums);
  // Those of all lanes, into lane 0.
  void (*combine)(Lanes<T>* sums);
  // The three sums x, into three others.
  void (*combine_two)(const T* x, T* sums);
  void (*finalize)(const double* parameters, Lanes<T>* sums);
  void (*gradients)(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                    bool interleaved, T* gradient);
};

// Of labels that are classes.
template <class T>
struct SparseLoops {
  // The value and the slope of each lane's p and z.
  void (*at_label)(const double* parameters, const Lanes<T>& p, const Lanes<T>& z, Lanes<T>* value,
                   Lanes<T>* slope);
  // gradient = scale * exponential for logits, scale for numbers that are divided by their sum and
  // not clipped, else 0.
  void (*gradients)(const double* parameters, const RowBlock<T>& block, const Lanes<T>& scale,
                    bool interleaved, T* gradient);
};

template <class T>
struct RowLoops {
  Normalization prediction, label;
  DenseLoops<T> dense;    // of a sparse loss: for smoothed labels; null where it has none
  SparseLoops<T> sparse;  // null for a loss that looks at all classes
  // Adds what numbers count for in the sum of their row to the sum of each lane.
  void (*sum_clipped)(const double* parameters, const T* x, int64_t size, Lanes<T>* sum);
  bool (*unclipped)(const double* parameters, T x);
};

template <class T>
struct RowOps {
  // The loops of a loss with these parameters; null for an unknown one.
  RowLoops<T> (*find)(const char* loss, const double* parameters);
  // Raises each lane's maximum to those of a block; NaN is left out.
  void (*maxima)(const T* x, int64_t size, Lanes<T>* maximum);
  // Of each lane, how many elements come before the first that is not below its bound.
  void (*first_reaching)(const T* x, int64_t size, const Lanes<T>& bound, bool interleaved,
                         int32_t* steps);
  // exps = exp(x - reference), and their sums added to each lane's. Meanwhile as many bytes are
  // fetched from the addresses `ahead` and, unless it is 0, `beside`, for the caller's next steps;
  // they may lie past an array's end, where an address is a number but no pointer.
  void (*exps)(const T* x, int64_t size, const Lanes<T>& reference, bool interleaved, T* exps,
               Lanes<T>* sum, uintptr_t ahead, uintptr_t beside);
  void (*log)(const Lanes<T>& x, Lanes<T>* out);
  T (*sum)(const Lanes<T>& x);
  T (*maximum)(const Lanes<T>& x);
  // z = cap * tanh(x / cap) * factor, or x * factor for a cap of 0; slope = 1 - tanh^2, or null.
  void (*scale_logits)(const T* x, int64_t size, T cap, T factor, T* z, T* slope);
  // label = weight * (factor * label + shift), with one weight per element or, interleaved, per
  // class.
  void (*smooth)(T* label, int64_t size, T factor, T shift, const T* weight, bool interleaved);
  // `count` contiguous rows into lanes, and back. Lanes without a row become 0.
  void (*interleave)(const T* rows, int64_t count, int64_t classes, T* lanes);
  void (*deinterleave)(const T* lanes, int64_t count, int64_t classes, T* rows);
};

}  // namespace fastloss
