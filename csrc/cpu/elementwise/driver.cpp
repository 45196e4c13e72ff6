// The driver of the elementwise pattern: one pass over labels and predictions, in fixed pieces that
// depend on the shape alone, so that the bits of a result do not depend on the number of threads.
#include "api/reduction.h"
#include "cpu/elementwise/plan.h"
#include "cpu/elementwise/tiles.h"

namespace fastloss {
namespace {

template <class T>
class ElementwiseDriver {
 public:
  ElementwiseDriver(const fastloss_elementwise& call, void* gradient)
      : call_(call), plan_(call, isa().ops<T>(), gradient) {}

  void forward(T* loss, T* term_values) {
    set_factors(1);
    with_labels_known([&](ElementwiseTiles<T>* tiles) {
      if (call_.reduction == FASTLOSS_NONE)
        sum_rows(tiles, loss);
      else
        reduce(tiles, loss, term_values);
    });
  }

  void backward(const T* upstream) {
    const bool per_row = call_.reduction == FASTLOSS_NONE;
    if (per_row) plan_.upstream = {upstream, call_.rows, call_.columns};
    set_factors(per_row ? T(1) : *upstream);
    with_labels_known([&](ElementwiseTiles<T>* tiles) {
      each_piece(ceil_div(plan_.elements, kPiece), [&](int64_t piece) {
        tiles->run(piece * kPiece, std::min(plan_.elements, (piece + 1) * kPiece), nullptr,
                   nullptr);
      });
    });
  }

 private:
  void set_factors(T upstream) {
    const double divisor = divisor_of<T>(call_, call_.rows);
    for (Term<T>& term : plan_.terms) term.reduce(call_.columns, divisor, upstream);
  }

  // Reading all labels before the first loss would cost a pass: guess from the first tile, and make
  // a second pass should a later label prove the guess wrong.
  template <class Body>
  void with_labels_known(const Body& body) {
    const bool binary = plan_.needs_all_labels() && first_labels_are_binary();
    const auto attempt = [&](bool binary) {
      for (Term<T>& term : plan_.terms) term.set_labels(binary);
      ElementwiseTiles<T> tiles(plan_, binary);
      body(&tiles);
      return tiles.labels_were_as_expected();
    };
    if (!attempt(binary)) attempt(false);
  }

  bool first_labels_are_binary() const {
    alignas(64) T labels[kTile];
    const int64_t n = std::min(plan_.elements, kTile);
    plan_.ops.load(call_.y_true_dtype, call_.y_true, labels, n);
    return plan_.ops.binary(labels, n);
  }

  template <class Piece>
  void each_piece(int64_t pieces, const Piece& piece) {
    parallel_pieces(call_.parallel_for, call_.parallel_context, pieces, plan_.streams, piece);
  }

  TermSums no_sums() const { return TermSums(plan_.terms.size()); }

  double weighted(const TermSums& sums) const {
    double total = 0;
    for (size_t k = 0; k < sums.size(); ++k)
      total += plan_.terms[k].factor * (sums[k] * plan_.terms[k].reduction);
    return total;
  }

  template <class Iterator>
  TermSums total_of(Iterator partial, Iterator end) const {
    TermSums totals = no_sums();
    for (; partial != end; ++partial)
      for (size_t k = 0; k < totals.size(); ++k) totals[k] += (*partial)[k];
    return totals;
  }

  void reduce(ElementwiseTiles<T>* tiles, T* loss, T* term_values) {
    const int64_t pieces = ceil_div(plan_.elements, kPiece);
    std::vector<TermSums> partial(pieces);
    each_piece(pieces, [&](int64_t piece) {
      TermSums sums = no_sums();
      tiles->run(piece * kPiece, std::min(plan_.elements, (piece + 1) * kPiece), &sums, nullptr);
      partial[piece] = std::move(sums);
    });
    const TermSums totals = total_of(partial.begin(), partial.end());
    *loss = call_.rows ? T(weighted(totals)) : T(0);
    if (!term_values) return;
    for (size_t k = 0; k < totals.size(); ++k)
      term_values[k] = call_.rows ? T(totals[k] * plan_.terms[k].reduction) : T(0);
  }

  // A row's sum is taken in an order that its length alone decides.
  void sum_rows(ElementwiseTiles<T>* tiles, T* rows) {
    if (!call_.columns)
      std::fill(rows, rows + call_.rows, T(weighted(no_sums())));
    else if (call_.columns <= kPiece)
      sum_rows_of_pieces(tiles, rows);
    else
      sum_long_rows(tiles, rows);
  }

  // Rows of which a piece holds one or more.
  void sum_rows_of_pieces(ElementwiseTiles<T>* tiles, T* rows) {
    const int64_t columns = call_.columns, rows_per_piece = kPiece / columns;
    each_piece(ceil_div(call_.rows, rows_per_piece), [&](int64_t piece) {
      const int64_t first = piece * rows_per_piece;
      const int64_t last = std::min(call_.rows, first + rows_per_piece);
      if (columns <= kTile) return sum_rows_of_tiles(tiles, first, last, rows);
      TermSums sums;
      for (int64_t row = first; row < last; ++row) {
        sums.assign(plan_.terms.size(), 0);
        tiles->run(row * columns, (row + 1) * columns, &sums, nullptr);
        rows[row] = T(weighted(sums));
      }
    });
  }

  // Rows of which a tile holds one or more.
  void sum_rows_of_tiles(ElementwiseTiles<T>* tiles, int64_t first, int64_t last, T* rows) {
    alignas(64) T next[kTile];
    const int64_t columns = call_.columns, rows_per_tile = kTile / columns;
    for (int64_t row = first; row < last; row += rows_per_tile) {
      const int64_t end = std::min(last, row + rows_per_tile);
      tiles->run(row * columns, end * columns, nullptr, [&](size_t k, const T* value) {
        const T factor = T(plan_.terms[k].factor * plan_.terms[k].reduction);
        plan_.ops.row_sums(value, end - row, columns, factor, k ? next : rows + row);
        if (!k) return;
        for (int64_t i = 0; i < end - row; ++i) rows[row + i] += next[i];
      });
    }
  }

  // Rows that are cut into pieces.
  void sum_long_rows(ElementwiseTiles<T>* tiles, T* rows) {
    const int64_t columns = call_.columns, chunks = ceil_div(columns, kPiece);
    std::vector<TermSums> partial(call_.rows * chunks);
    each_piece(call_.rows * chunks, [&](int64_t piece) {
      const int64_t begin = piece / chunks * columns + piece % chunks * kPiece;
      TermSums sums = no_sums();
      tiles->run(begin, std::min(begin + kPiece, (piece / chunks + 1) * columns), &sums, nullptr);
      partial[piece] = std::move(sums);
    });
    for (int64_t row = 0; row < call_.rows; ++row) {
      const auto first = partial.begin() + row * chunks;
      rows[row] = T(weighted(total_of(first, first + chunks)));
    }
  }

  const fastloss_elementwise& call_;
  ElementwisePlan<T> plan_;
};

}  // namespace
}  // namespace fastloss

int fastloss_elementwise_forward(const fastloss_elementwise* call, void* loss, void* term_values,
                                 void* gradient) {
  using namespace fastloss;
  if (check_elementwise_forward(*call, term_values, gradient)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    ElementwiseDriver<double>(*call, gradient)
        .forward(static_cast<double*>(loss), static_cast<double*>(term_values));
  else
    ElementwiseDriver<float>(*call, gradient)
        .forward(static_cast<float*>(loss), static_cast<float*>(term_values));
  return 0;
}

int fastloss_elementwise_backward(const fastloss_elementwise* call, const void* upstream,
                                  void* gradient) {
  using namespace fastloss;
  if (check_elementwise_backward(*call, gradient)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    ElementwiseDriver<double>(*call, gradient).backward(static_cast<const double*>(upstream));
  else
    ElementwiseDriver<float>(*call, gradient).backward(static_cast<const float*>(upstream));
  return 0;
}
