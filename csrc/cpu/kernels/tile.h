// What a driver asks of an instruction set: loops over one tile that sits in the L1 cache.
#pragma once

#include <cstdint>

namespace fastloss {

// Loops over a tile run over whole vectors only, so that an element's result does not depend on
// its position: the driver pads every tile to a multiple of this.
constexpr int64_t kLanes = 64;
// Small enough for the buffers of two hyperthreads to share one L1 cache.
constexpr int64_t kTile = 512;

// value, gradient = value[i], slope[i] * scale for T = float or double; with `adds`, which goes
// without `column`, the gradient is added to. `total` takes the sum of the values in place of
// `value`, without `column`. `exp_neg_abs` is exp(-|prediction|) where the caller has it, for
// losses of logits. It, `column` and the outputs may be null; `count` is a multiple of kLanes.
template <class T>
using TileLoop = void (*)(const double* parameters, const T* label, const T* prediction,
                          const T* exp_neg_abs, const T* column, T scale, T* value, T* total,
                          T* gradient, bool adds, int64_t count);

template <class T>
struct TileLoops {
  TileLoop<T> any;
  TileLoop<T> hard_labels;  // for labels that are all 0 or 1; null where it would not be cheaper
};

// The end of what has been stored past the caches, not yet a whole line: it waits for what follows
// to complete it.
struct OpenLine {
  alignas(64) char bytes[64];
  char* next = nullptr;  // where what follows would be stored
  int64_t begin = 0;     // what precedes this offset in the line is another's
};

template <class T>
struct TileOps {
  // The loops of a loss with these parameters; null for an unknown one.
  TileLoops<T> (*find)(const char* loss, const double* parameters);
  // Any dtype to T and back; `count` is exact here, any number.
  void (*load)(int32_t dtype, const void* from, T* to, int64_t count);
  // `open` is for stores that follow one another; else null. close() stores what it holds.
  void (*store)(int32_t dtype, const T* from, void* to, int64_t count, bool stream, OpenLine* open);
  void (*store_scaled)(int32_t dtype, T factor, const T* from, void* to, int64_t count, bool stream,
                       OpenLine* open);
  void (*copy)(const void* from, void* to, int64_t bytes, bool stream, OpenLine* open);
  void (*close)(OpenLine* open);
  void (*multiply)(const T* factor, T* in_out, int64_t count);
  void (*scale)(T factor, const T* from, T* to, int64_t count);
  // In an order that depends on `count` alone; any count.
  T (*sum)(const T* x, int64_t count);
  // out[r] = factor * sum of row r
  void (*row_sums)(const T* x, int64_t rows, int64_t columns, T factor, T* out);
  // Whether every label is 0 or 1.
  bool (*binary)(const T* x, int64_t count);
};

// The sum of a tile's values. `run` is given where they go, or where their sum goes; the latter is
// of whole vectors alone.
template <class T, class Run>
double sum_of_values(const TileOps<T>& ops, int64_t n, int64_t padded, T* values, const Run& run) {
  if (n == padded) {
    T total;
    run(nullptr, &total);
    return double(total);
  }
  run(values, nullptr);
  return double(ops.sum(values, n));
}

}  // namespace fastloss
