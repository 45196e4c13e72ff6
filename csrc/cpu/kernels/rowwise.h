// What the rowwise driver asks of an instruction set: loops over a block of kRowLanes lanes,
// element i being in lane i % kRowLanes. The lanes are either one row's classes, kRowLanes at a
// time, or as many rows abreast, class after class. Blocks are whole: the driver fills them up.
#pragma once

#include <cstdint>

#include "cpu/kernels/lanes.h"
#include "losses/rowwise.h"

namespace fastloss {

// Turns a class of a row into its share: exp(z - reference) * factor and (z - shift) - log_sum for
// logits, part * factor for parts. `exps` are the exponentials of a block of logits.
template <class T>
struct RowNormalizer {
  Lanes<T> factor, shift, log_sum;
};

// One number per lane, or in lane 0 alone when all lanes are of one row.
template <class T>
struct RowState {
  RowNormalizer<T> label, prediction;
  Lanes<T> b, c;          // what finalize() makes of the sums, beside the loss
  Lanes<T> scale;         // of the gradient
  Lanes<T> z_loss_slope;  // how much of p to add to the slope (z_loss)
};

template <class T>
struct RowBlock {
  const T *label, *label_exps, *prediction, *prediction_exps;
  int64_t size;
};

template <class T>
struct DenseLoops {
  T pad_label, pad_prediction;
  // Adds a block's terms to the sums of each lane, which start as identity().
  void (*identity)(Lanes<T>* sums);
  void (*accumulate)(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                     bool interleaved, Lanes<T>* sums);
  // The sums of all lanes joined in lane 0.
  void (*combine)(Lanes<T>* sums);
  void (*combine_two)(const T* x, T* sum);
  void (*finalize)(const double* parameters, Lanes<T>* sums);
  void (*gradients)(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                    bool interleaved, T* gradient);
};

template <class T>
struct SparseLoops {
  // value, slope = pick of the share p and its z, lane by lane.
  void (*at_label)(const double* parameters, const Lanes<T>& p, const Lanes<T>& z, Lanes<T>* value,
                   Lanes<T>* slope);
  // gradient = scale * p for logits; scale for parts within their bounds.
  void (*gradients)(const double* parameters, const RowBlock<T>& block, const Lanes<T>& scale,
                    bool interleaved, T* gradient);
};

template <class T>
struct RowLoops {
  Normalization prediction, label;
  DenseLoops<T> dense;    // of a sparse loss: for smoothed labels; `collect` is null if it has none
  SparseLoops<T> sparse;  // `pick` is null for a loss of its rows of labels alone
  // Adds what a block's classes count for to the sum of each lane.
  void (*sum_clipped)(const double* parameters, const T* x, int64_t size, Lanes<T>* sum);
  bool (*unclipped)(const double* parameters, T x);
};

template <class T>
struct RowOps {
  // The loops of a loss with these parameters; `parts` is null for an unknown one.
  RowLoops<T> (*find)(const char* loss, const double* parameters);
  // Raises each lane's maximum to those of a block; NaN is left out.
  void (*maxima)(const T* x, int64_t size, Lanes<T>* maximum);
  // Of each lane, the first element that is not below its bound, counted in lanes; or size /
  // kRowLanes.
  void (*first_reaching)(const T* x, int64_t size, const Lanes<T>& bound, bool interleaved,
                         int32_t* places);
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
  // label = weight * (keep * label + shift), with one weight per element or, abreast, per class.
  void (*smooth)(T* label, int64_t size, T keep, T shift, const T* weight, bool interleaved);
  // Rows of `classes` side by side into lanes, and back.
  void (*interleave)(const T* rows, int64_t count, int64_t classes, T* lanes);
  void (*deinterleave)(const T* lanes, int64_t count, int64_t classes, T* rows);
};

}  // namespace fastloss
