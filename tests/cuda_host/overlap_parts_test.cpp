// The parts of the overlap kernels: how positions are divided, and rows that threads share.
#include "cuda/overlap/tile.h"
#include "overlap_calls.h"

namespace {

using namespace fastloss::cuda;

// Every GPU grants the shared memory, and every position is in one tile of one piece.
void check_layout() {
  for (const int64_t classes :
       {1, 2, 3, 4, 14, 19, 31, 32, 33, 64, 127, 128, 129, 255, 256, 257, 5000})
    for (const int64_t positions : {0, 1, 7, 8, 9, 1000, 100000, 10000000})
      for (const int64_t outer : {0, 1, 3, 5000})
        for (const bool sparse : {false, true})
          for (const int64_t size : {4, 8})
            for (const int32_t fused_terms : {0, FASTLOSS_CUDA_MAX_TERMS}) {
              context = std::to_string(classes) + " classes, " + std::to_string(positions) +
                        " positions, " + std::to_string(outer) + " images, " +
                        std::to_string(size) + " bytes";
              fastloss_overlap call = call_of(0, {outer, positions, classes, 1}, 0, 0);
              call.activation = FASTLOSS_SOFTMAX;
              call.per_outer = 1, call.sparse = sparse, call.fused_term_count = fused_terms;
              const OverlapLayout layout(call, size);
              check(layout.shared_bytes(size) <= OverlapLayout::kMaxBytes, "shared memory");
              const int64_t slot = size == 8 ? slot_bytes<double>(OverlapCase::label_rows, true)
                                             : slot_bytes<float>(OverlapCase::label_rows, true);
              check(layout.shared_bytes(size, slot) <= 48 << 10, "shared memory of the gradient");
              check(layout.stride >= classes && layout.stride % (2 * layout.lanes) == layout.lanes,
                    "the stride");
              check(layout.wide || layout.classes <= kThreads, "a class a thread");
              const int64_t capacity = layout.tiles * layout.positions_of_tile();
              check(!outer || (capacity >= positions &&
                               capacity < positions + layout.positions_of_tile()),
                    "tiles");
              const int64_t taken = layout.pieces * layout.tiles_of_piece;
              check(taken >= layout.tiles && taken < layout.tiles + layout.tiles_of_piece,
                    "pieces, none of them empty");
            }
}

// 0.25 + k / 64, so that sums are exact, and few different numbers, so that the largest is not
// alone.
float row_label[300], row_prediction[300];
RowSums<float> row_output[kThreads];

template <class Loss>
void sum_row(const Loss loss, const int lanes, const int classes) {
  const int thread = static_cast<int>(threadIdx.x);
  row_output[thread] = fused_row_sums<float>(
      loss, thread % lanes, lanes, classes,
      [](int c) { return ClassProbability<float>{row_label[c], row_label[c]}; },
      [](int c) { return ClassProbability<float>{row_prediction[c], row_prediction[c]}; });
}

// All threads of a row get all its sums, whichever way a loss combines them.
template <class Loss>
void check_row_sums(const char* name) {
  const double parameters[] = {1e-7};
  const Loss loss(parameters);
  for (const int classes : {1, 2, 3, 7, 8, 31, 32, 33, 300}) {
    for (int c = 0; c < classes; ++c) {
      row_label[c] = uniform() < 0.3;
      row_prediction[c] = float(0.25 + int(uniform() * 8) / 64.0);
    }
    RowSums<float> expected = loss.identity();
    for (int c = 0; c < classes; ++c)
      expected = loss.combine(expected, loss.accumulate({row_label[c], row_label[c]},
                                                        {row_prediction[c], row_prediction[c]}));
    expected = loss.finalize(expected);
    for (int lanes = 1; lanes <= kWarp; lanes *= 2) {
      context = std::string(name) + ", " + std::to_string(classes) + " classes of " +
                std::to_string(lanes) + " lanes";
      check(!launch(sum_row<Loss>, 1, kThreads, 0, nullptr, loss, lanes, classes), "a launch");
      for (const RowSums<float>& found : row_output)
        check(!std::memcmp(&found, &expected, sizeof(found)), "the sums of a row");
    }
  }
}

}  // namespace

int main() {
  check_layout();
  check_row_sums<categorical_hinge<float>>("categorical_hinge");
  check_row_sums<cosine_similarity<float>>("cosine_similarity");
  return report();
}
