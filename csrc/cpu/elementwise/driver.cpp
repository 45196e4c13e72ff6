// The driver of the elementwise pattern: one walk over labels and predictions, in fixed pieces that
// depend on the shape alone, so that the bits of a result do not depend on the number of threads.
#include <atomic>
#include <vector>

#include "api/fastloss.h"
#include "cpu/kernels/elementwise_term.h"
#include "cpu/kernels/tile.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {
namespace {

template <class T>
class Walk {
 public:
  explicit Walk(const fastloss_elementwise& call)
      : call_(call),
        ops_(isa().ops<T>()),
        elements_(call.rows * call.columns),
        label_size_(dtype_size(call.y_true_dtype)),
        prediction_size_(dtype_size(call.y_pred_dtype)) {
    terms_.reserve(call.term_count);
    for (int32_t k = 0; k < call.term_count; ++k) terms_.emplace_back(call.terms[k], ops_);
    if (call.weight && call.weight_count)
      weight_ = {static_cast<const T*>(call.weight), call.weight_count,
                 call.weight_repeat * call.columns};
    if (call.column_weight && call.column_weight_count)
      column_ = {static_cast<const T*>(call.column_weight), call.column_weight_count, 1};
  }

  void forward(T* loss, T* term_values, void* gradient) {
    gradient_ = static_cast<char*>(gradient);
    stream_ = gradient && gradient != call_.y_pred && elements_ * prediction_size_ >= kStreamBytes;
    set_factors(1);
    with_binary_guess([&] {
      if (call_.reduction == FASTLOSS_NONE)
        row_sums(loss);
      else
        reduce(loss, term_values);
    });
  }

  void backward(const T* upstream, void* gradient) {
    gradient_ = static_cast<char*>(gradient);
    stream_ = gradient != call_.y_pred && elements_ * prediction_size_ >= kStreamBytes;
    const bool per_row = call_.reduction == FASTLOSS_NONE;
    if (per_row) upstream_ = {upstream, call_.rows, call_.columns};
    set_factors(per_row ? T(1) : *upstream);
    with_binary_guess([&] {
      each_piece(ceil_div(elements_, kPiece), [&](int64_t piece) {
        each_tile(piece * kPiece, std::min(elements_, (piece + 1) * kPiece), nullptr, nullptr);
      });
    });
  }

 private:
  // One number for each term.
  using Sums = std::vector<double>;

  void set_factors(T upstream) {
    const double divisor = divisor_of(call_, weight_);
    for (Term<T>& term : terms_) term.reduce(call_.columns, divisor, upstream);
  }

  double weighted(const Sums& sums) const {
    double total = 0;
    for (size_t k = 0; k < terms_.size(); ++k)
      total += terms_[k].factor * (sums[k] * terms_[k].reduction);
    return total;
  }

  // Reading all labels before the first loss would cost a walk: guess from the first tile, and walk
  // again should a later label prove the guess wrong.
  template <class Body>
  void with_binary_guess(const Body& body) {
    const auto guess = [&](bool binary) {
      guess_ = binary;
      for (Term<T>& term : terms_)
        if (term.loss->binary) term.parameters[0] = binary;
    };
    const auto binary = [](const Term<T>& term) { return term.loss->binary; };
    if (std::any_of(terms_.begin(), terms_.end(), binary)) {
      alignas(64) T labels[kTile];
      const int64_t n = std::min(elements_, kTile);
      ops_.load(call_.y_true_dtype, call_.y_true, labels, n);
      guess(ops_.binary(labels, n));
    }
    body();
    if (guess_ && !guess_holds_) {
      guess(false);
      body();
    }
  }

  template <class Piece>
  void each_piece(int64_t pieces, const Piece& piece) {
    parallel_pieces(call_.parallel_for, call_.parallel_context, pieces, stream_, piece);
  }

  template <class Iterator>
  Sums total_of(Iterator partial, Iterator end) const {
    Sums totals(terms_.size());
    for (; partial != end; ++partial)
      for (size_t k = 0; k < totals.size(); ++k) totals[k] += (*partial)[k];
    return totals;
  }

  void reduce(T* loss, T* term_values) {
    const int64_t pieces = ceil_div(elements_, kPiece);
    std::vector<Sums> partial(pieces);
    each_piece(pieces, [&](int64_t piece) {
      Sums sums(terms_.size());
      each_tile(piece * kPiece, std::min(elements_, (piece + 1) * kPiece), &sums, nullptr);
      partial[piece] = std::move(sums);
    });
    const Sums totals = total_of(partial.begin(), partial.end());
    *loss = call_.rows ? T(weighted(totals)) : T(0);
    if (!term_values) return;
    for (size_t k = 0; k < totals.size(); ++k)
      term_values[k] = call_.rows ? T(totals[k] * terms_[k].reduction) : T(0);
  }

  // A row's sum is taken in an order that its length alone decides.
  void row_sums(T* rows) {
    const int64_t columns = call_.columns;
    if (!columns) {
      const double nothing = weighted(Sums(terms_.size()));
      std::fill(rows, rows + call_.rows, T(nothing));
      return;
    }
    if (columns <= kPiece) {
      const int64_t rows_per_piece = kPiece / columns;
      each_piece(ceil_div(call_.rows, rows_per_piece), [&](int64_t piece) {
        const int64_t first = piece * rows_per_piece;
        const int64_t last = std::min(call_.rows, first + rows_per_piece);
        if (columns <= kTile) return short_rows(first, last, rows);
        Sums sums;
        for (int64_t row = first; row < last; ++row) {
          sums.assign(terms_.size(), 0);
          each_tile(row * columns, (row + 1) * columns, &sums, nullptr);
          rows[row] = T(weighted(sums));
        }
      });
      return;
    }
    const int64_t chunks = ceil_div(columns, kPiece);
    std::vector<Sums> partial(call_.rows * chunks);
    each_piece(call_.rows * chunks, [&](int64_t piece) {
      const int64_t begin = piece / chunks * columns + piece % chunks * kPiece;
      Sums sums(terms_.size());
      each_tile(begin, std::min(begin + kPiece, (piece / chunks + 1) * columns), &sums, nullptr);
      partial[piece] = std::move(sums);
    });
    for (int64_t row = 0; row < call_.rows; ++row) {
      const auto first = partial.begin() + row * chunks;
      rows[row] = T(weighted(total_of(first, first + chunks)));
    }
  }

  // Rows of which a tile holds one or more.
  void short_rows(int64_t first, int64_t last, T* rows) {
    alignas(64) T next[kTile];
    const int64_t columns = call_.columns, rows_per_tile = kTile / columns;
    for (int64_t row = first; row < last; row += rows_per_tile) {
      const int64_t end = std::min(last, row + rows_per_tile);
      each_tile(row * columns, end * columns, nullptr, [&](size_t k, const T* value) {
        const T factor = T(terms_[k].factor * terms_[k].reduction);
        ops_.row_sums(value, end - row, columns, factor, k ? next : rows + row);
        if (!k) return;
        for (int64_t i = 0; i < end - row; ++i) rows[row + i] += next[i];
      });
    }
  }

  // The tile after next: where the labels are checked first, the predictions would be asked for
  // only after that.
  static void fetch_ahead(const void* data, int64_t begin, int64_t size) {
    prefetch<2>(static_cast<const char*>(data) + (begin + 2 * kTile) * size, kTile * size);
  }

  // The elements as T: where they lie if they can be walked in whole vectors, else in `buffer`.
  const T* fetch(int32_t dtype, int64_t size, const void* data, int64_t begin, int64_t n,
                 int64_t padded, T* buffer) const {
    const char* from = static_cast<const char*>(data) + begin * size;
    if (dtype == dtype_of<T>() && n == padded) return reinterpret_cast<const T*>(from);
    ops_.load(dtype, from, buffer, n);
    std::fill(buffer + n, buffer + padded, T(0.5));
    return buffer;
  }

  // Adds each term's weighted values in [begin, end) to `sums` or hands those of each tile to
  // `take`, where there is one, and writes the gradient. The terms of a tile are computed while it
  // lies in the L1 cache.
  template <class Take>
  void each_tile(int64_t begin, int64_t end, Sums* sums, const Take& take) {
    constexpr bool kTakes = !std::is_same<Take, std::nullptr_t>::value;
    alignas(64) T labels[kTile], predictions[kTile], columns[kTile], values[kTile], slopes[kTile],
        weights[kTile];
    const bool weighted = weight_.data || upstream_.data;
    const bool fetches = (guess_ || has_hard_labels()) &&
                         elements_ * (label_size_ + prediction_size_) >= kStreamBytes;
    for (; begin < end; begin += kTile) {
      const int64_t n = std::min(kTile, end - begin);
      const int64_t padded = ceil_div(n, kLanes) * kLanes;
      if (fetches) {
        fetch_ahead(call_.y_true, begin, label_size_);
        fetch_ahead(call_.y_pred, begin, prediction_size_);
      }
      const T* const label =
          fetch(call_.y_true_dtype, label_size_, call_.y_true, begin, n, padded, labels);
      const T* const prediction =
          fetch(call_.y_pred_dtype, prediction_size_, call_.y_pred, begin, n, padded, predictions);
      if (guess_ && !ops_.binary(label, n)) {
        guess_holds_ = false;
        return;
      }
      if (column_.data) {
        column_.visit(begin, n, [&](int64_t i, T value) { columns[i] = value; });
        std::fill(columns + n, columns + padded, T(1));
      }
      char* const target = gradient_ ? gradient_ + begin * prediction_size_ : nullptr;
      const bool direct = target && !stream_ && n == padded && gradient_ != call_.y_pred &&
                          call_.y_pred_dtype == dtype_of<T>();
      T* const slope = direct ? reinterpret_cast<T*>(target) : slopes;
      const bool hard = has_hard_labels() && ops_.binary(label, n);
      if (weighted) {
        if (weight_.data)
          weight_.visit(begin, n, [&](int64_t i, T value) { weights[i] = value; });
        else
          std::fill(weights, weights + n, T(1));
        if (upstream_.data)
          upstream_.visit(begin, n, [&](int64_t i, T value) { weights[i] *= value; });
      }
      for (size_t k = 0; k < terms_.size(); ++k) {
        const Term<T>& term = terms_[k];
        const TileLoop<T> loop =
            hard && term.loops.hard_labels ? term.loops.hard_labels : term.loops.any;
        const auto run = [&](T* value, T* total) {
          loop(term.parameters, label, prediction, nullptr, column_.data ? columns : nullptr,
               term.scale, value, total, target ? slope : nullptr, k > 0, padded);
        };
        if (sums && !weighted && !column_.data) {
          (*sums)[k] += sum_of_values(ops_, n, padded, values, run);
          continue;
        }
        run(sums || kTakes ? values : nullptr, nullptr);
        if (weighted && (sums || kTakes)) ops_.multiply(weights, values, n);
        if (sums) (*sums)[k] += double(ops_.sum(values, n));
        if constexpr (kTakes) take(k, values);
      }
      if (weighted && target) ops_.multiply(weights, slope, n);
      if (target && !direct) ops_.store(call_.y_pred_dtype, slope, target, n, stream_, nullptr);
    }
  }

  bool has_hard_labels() const {
    for (const Term<T>& term : terms_)
      if (term.loops.hard_labels) return true;
    return false;
  }

  const fastloss_elementwise& call_;
  const TileOps<T>& ops_;
  const int64_t elements_, label_size_, prediction_size_;
  std::vector<Term<T>> terms_;
  Pattern<T> weight_, column_, upstream_;
  char* gradient_ = nullptr;
  bool stream_ = false, guess_ = false;
  std::atomic<bool> guess_holds_{true};
};

}  // namespace
}  // namespace fastloss

int fastloss_elementwise_forward(const fastloss_elementwise* call, void* loss, void* term_values,
                                 void* gradient) {
  using namespace fastloss;
  if (check_elementwise_forward(*call, term_values, gradient)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    Walk<double>(*call).forward(static_cast<double*>(loss), static_cast<double*>(term_values),
                                gradient);
  else
    Walk<float>(*call).forward(static_cast<float*>(loss), static_cast<float*>(term_values),
                               gradient);
  return 0;
}

int fastloss_elementwise_backward(const fastloss_elementwise* call, const void* upstream,
                                  void* gradient) {
  using namespace fastloss;
  if (check_elementwise_backward(*call, gradient)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    Walk<double>(*call).backward(static_cast<const double*>(upstream), gradient);
  else
    Walk<float>(*call).backward(static_cast<const float*>(upstream), gradient);
  return 0;
}

int fastloss_elementwise_in_place(const char* loss) {
  const fastloss::ElementwiseLoss* entry = fastloss::find_loss(fastloss::kElementwiseLosses, loss);
  return entry && !entry->binary;
}

int32_t fastloss_elementwise_parameter_count(const char* loss) {
  const fastloss::ElementwiseLoss* entry = fastloss::find_loss(fastloss::kElementwiseLosses, loss);
  return entry ? entry->parameter_count() : -1;
}

const char* fastloss_elementwise_losses(void) {
  static const std::string names = fastloss::names_of(fastloss::kElementwiseLosses);
  return names.c_str();
}
