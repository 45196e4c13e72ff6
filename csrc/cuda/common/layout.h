// How work is divided: a pass into pieces, one for each block of threads; a piece into tiles; a
// tile into vectors of 16 bytes of predictions. The division depends on the shape alone, not even
// on alignment, so that the bits of a sum depend on nothing else either.
#pragma once

#include <cstdint>

#include "losses/target.h"

namespace fastloss {
namespace FASTLOSS_ISA {

constexpr int kThreads = 256;
constexpr int kWarp = 32;

// A tile of elements of kBytes each. Neighbouring threads have neighbouring vectors, so that a
// warp's accesses coalesce; a thread's own vectors are kThreads vectors apart.
template <int kBytes, int kVectorsOfThread>
struct Tile {
  static constexpr int kWidth = 16 / kBytes;
  static constexpr int kVectors = kVectorsOfThread;
  static constexpr int kOfThread = kWidth * kVectors;
  static constexpr int kElements = kOfThread * kThreads;

  static FASTLOSS_INLINE int first(int thread, int vector) {
    return (vector * kThreads + thread) * kWidth;
  }
};

// Enough pieces to fill any GPU several times over, few enough for one block to add up their sums.
constexpr int64_t kMaxPieces = 8192;

struct Pieces {
  int64_t elements = 0, size = 1, count = 0;

  Pieces() = default;
  Pieces(int64_t elements, int64_t tile) : elements(elements) {
    const int64_t tiles = (elements + tile - 1) / tile;
    const int64_t each = (tiles + kMaxPieces - 1) / kMaxPieces;
    size = each * tile;
    count = elements ? (elements + size - 1) / size : 0;
  }

  FASTLOSS_INLINE int64_t begin(int64_t piece) const { return piece * size; }
  FASTLOSS_INLINE int64_t end(int64_t piece) const {
    const int64_t next = (piece + 1) * size;
    return next < elements ? next : elements;
  }
};

// How rows with a sum each are divided: a tile holds several short rows; a long row is cut into
// chunks of several tiles. A tile of rows may begin within a vector, for which it reserves
// `width - 1` elements.
struct Rows {
  static constexpr int64_t kTilesOfChunk = 16;

  int64_t rows = 0, columns = 1;
  int64_t capacity = 1;      // elements of a tile
  int64_t rows_of_tile = 0;  // 0 for long rows
  int64_t chunks = 1;        // of a long row
  int64_t work_items = 0;    // tiles of short rows, or chunks of long ones
  int lanes = 1;             // threads that add up a short row

  Rows() = default;
  Rows(int64_t rows, int64_t columns, int64_t tile, int width)
      : rows(rows), columns(columns), capacity(tile - (width - 1)) {
    rows_of_tile = capacity / columns;
    if (rows_of_tile) {
      work_items = (rows + rows_of_tile - 1) / rows_of_tile;
      while (lanes < kWarp && 2 * lanes <= columns && 2 * lanes * rows_of_tile <= kThreads)
        lanes *= 2;
    } else {
      chunks = (columns + kTilesOfChunk * capacity - 1) / (kTilesOfChunk * capacity);
      work_items = rows * chunks;
    }
  }

  FASTLOSS_INLINE int64_t first_row(int64_t tile) const { return tile * rows_of_tile; }
  FASTLOSS_INLINE int64_t last_row(int64_t tile) const {
    const int64_t next = (tile + 1) * rows_of_tile;
    return next < rows ? next : rows;
  }
  // Elements [chunk_begin, chunk_end) of a long row.
  FASTLOSS_INLINE int64_t chunk_begin(int64_t chunk) const {
    return chunk / chunks * columns + chunk % chunks * (kTilesOfChunk * capacity);
  }
  FASTLOSS_INLINE int64_t chunk_end(int64_t chunk) const {
    const int64_t row_end = (chunk / chunks + 1) * columns;
    const int64_t next = chunk_begin(chunk) + kTilesOfChunk * capacity;
    return next < row_end ? next : row_end;
  }
};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
