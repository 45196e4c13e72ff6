// How a tensor is cut: into segments, each a matrix (rows, columns), and those into chunks of rows.
// It follows from the call alone.
#pragma once

#include "api/fastloss.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {

struct OverlapChunk {
  int64_t index, segment;
  int64_t first_row, rows;  // of the segment
};

struct OverlapLayout {
  explicit OverlapLayout(const fastloss_overlap& call);

  // The classes of a position are looked at together, for kRowLanes positions side by side. Else
  // elements are taken as they lie in memory.
  bool interleaved;
  int64_t images;   // that have sums of their own
  int64_t classes;  // likewise; 1 where classes are not told apart
  int64_t segments, rows, columns;
  int64_t segments_per_image;
  int64_t period;      // elements after which the classes repeat, a multiple of kLanes or kRowLanes
  int64_t sum_period;  // elements after which the sums repeat
  int64_t rows_per_chunk, chunks_per_segment, chunks_per_piece;

  int64_t chunks() const { return segments * chunks_per_segment; }
  int64_t elements() const { return segments * rows * columns; }

  OverlapChunk chunk(int64_t index) const {
    const int64_t first_row = index % chunks_per_segment * rows_per_chunk;
    return {index, index / chunks_per_segment, first_row,
            std::min(rows_per_chunk, rows - first_row)};
  }

  // The index of a chunk's first element in the tensor.
  int64_t first_element(const OverlapChunk& chunk) const {
    return (chunk.segment * rows + chunk.first_row) * columns;
  }

  // Where a table (images, classes) has what belongs to a segment's column.
  int64_t table_index(int64_t segment, int64_t column) const {
    const int64_t image = segment / segments_per_image;
    return image * classes + (columns == classes ? column : segment % classes);
  }
};

// Calls body(chunk) for all chunks, in parallel. `stream` says whether it writes past the caches.
template <class Body>
void for_each_chunk(const fastloss_overlap& call, const OverlapLayout& layout, bool stream,
                    const Body& body) {
  const int64_t chunks = layout.chunks(), per_piece = layout.chunks_per_piece;
  parallel_pieces(call.parallel_for, call.parallel_context, ceil_div(chunks, per_piece), stream,
                  [&](int64_t piece) {
                    const int64_t end = std::min(chunks, (piece + 1) * per_piece);
                    for (int64_t i = piece * per_piece; i < end; ++i) body(layout.chunk(i));
                  });
}

}  // namespace fastloss
