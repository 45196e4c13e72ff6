#include "cpu/overlap/layout.h"

#include <numeric>

#include "api/overlap_call.h"
#include "cpu/kernels/lanes.h"
#include "cpu/kernels/tile.h"

namespace fastloss {

OverlapLayout::OverlapLayout(const fastloss_overlap& call)
    : interleaved(by_position(call)), images(call.per_outer ? call.outer : 1) {
  const bool tells_classes = interleaved || by_class(call);
  const int64_t positions = call.outer * call.above * call.inner;
  const int64_t positions_per_image = positions / std::max<int64_t>(1, images);
  classes = tells_classes ? call.classes : 1;
  if (tells_classes && !interleaved && call.inner != 1) {
    // The elements of a class lie together, so that a segment has one class.
    segments = call.outer * call.above * call.classes;
    rows = call.inner;
    columns = 1;
  } else {
    segments = images;
    rows = tells_classes ? positions_per_image : positions_per_image * call.classes;
    columns = classes;
  }
  segments_per_image = std::max<int64_t>(1, segments / std::max<int64_t>(1, images));

  const int64_t some_columns = std::max<int64_t>(1, columns);
  const int64_t rows_per_period =
      interleaved ? int64_t(kRowLanes) : kLanes / std::gcd(some_columns, kLanes);
  period = rows_per_period * some_columns;
  sum_period = some_columns == 1 ? int64_t(kRowLanes) : period;
  rows_per_chunk =
      ceil_div(std::max<int64_t>(1, kPiece / some_columns), rows_per_period) * rows_per_period;
  chunks_per_segment = columns ? ceil_div(rows, rows_per_chunk) : 0;
  chunks_per_piece = std::max<int64_t>(
      1, kPiece / std::max<int64_t>(1, std::min(rows, rows_per_chunk) * some_columns));
}

}  // namespace fastloss
