// The driver of the elementwise pattern: one walk over labels and predictions, in fixed pieces that
// depend on the shape alone, so that the bits of a result do not depend on the number of threads.
#include "../losses/elementwise.h"

#include <atomic>
#include <vector>

#include "../fastloss.h"
#include "error.h"
#include "tile.h"
#include "walk.h"

namespace fastloss {
namespace {

struct Loss : LossEntry {
  bool mean;    // a row's values are averaged, else added
  bool binary;  // labels that are all 0 or 1 mean -1 or 1
};

#define FASTLOSS_ROWS_mean true
#define FASTLOSS_ROWS_sum false
#define FASTLOSS_LABELS_any false
#define FASTLOSS_LABELS_binary true
#define FASTLOSS_ENTRY(NAME, ROWS, LABELS, ...) \
  {{#NAME, #__VA_ARGS__}, FASTLOSS_ROWS_##ROWS, FASTLOSS_LABELS_##LABELS},
constexpr Loss kLosses[] = {FASTLOSS_ELEMENTWISE_LOSSES(FASTLOSS_ENTRY)};

template <class T>
class Walk {
 public:
  Walk(const fastloss_elementwise& call, const Loss& loss)
      : call_(call),
        loss_(loss),
        ops_(isa().ops<T>()),
        loops_(ops_.find(call.loss, call.parameters)),
        elements_(call.rows * call.columns),
        label_size_(dtype_size(call.y_true_dtype)),
        prediction_size_(dtype_size(call.y_pred_dtype)) {
    std::copy(call.parameters, call.parameters + call.parameter_count, parameters_);
    if (call.weight && call.weight_count)
      weight_ = {static_cast<const T*>(call.weight), call.weight_count,
                 call.weight_repeat * call.columns};
    if (call.column_weight && call.column_weight_count)
      column_ = {static_cast<const T*>(call.column_weight), call.column_weight_count, 1};
  }

  void forward(T* loss, void* gradient) {
    gradient_ = static_cast<char*>(gradient);
    stream_ = gradient && gradient != call_.y_pred && elements_ * prediction_size_ >= kStreamBytes;
    const double factor = reduction_factor();
    gradient_scale_ = T(factor);
    with_binary_guess([&] {
      if (call_.reduction == FASTLOSS_NONE)
        row_sums(loss);
      else
        *loss = call_.rows ? T(total() * factor) : T(0);
    });
  }

  void backward(const T* upstream, void* gradient) {
    gradient_ = static_cast<char*>(gradient);
    stream_ = gradient != call_.y_pred && elements_ * prediction_size_ >= kStreamBytes;
    gradient_scale_ = T(reduction_factor());
    if (call_.reduction == FASTLOSS_NONE)
      upstream_ = {upstream, call_.rows, call_.columns};
    else
      gradient_scale_ *= *upstream;
    with_binary_guess([&] {
      each_piece(ceil_div(elements_, kPiece), [&](int64_t piece) {
        each_tile(piece * kPiece, std::min(elements_, (piece + 1) * kPiece), false,
                  [](const T*, int64_t) {});
      });
    });
  }

 private:
  double reduction_factor() const {
    double factor = loss_.mean ? 1.0 / double(call_.columns) : 1.0;
    if (call_.reduction == FASTLOSS_NONE || call_.reduction == FASTLOSS_SUM) return factor;
    double divisor = double(call_.rows);
    if (call_.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT && weight_.data) {
      divisor = 0;
      for (int64_t i = 0; i < weight_.count; ++i) divisor += double(weight_.data[i]);
      if (call_.weight_expansion > 1) divisor /= double(call_.weight_expansion);
    }
    return divisor == 0 ? 0 : factor / (divisor * call_.replicas);
  }

  // Reading all labels before the first loss would cost a walk: guess from the first tile, and walk
  // again should a later label prove the guess wrong.
  template <class Body>
  void with_binary_guess(const Body& body) {
    if (loss_.binary) {
      alignas(64) T labels[kTile];
      const int64_t n = std::min(elements_, kTile);
      ops_.load(call_.y_true_dtype, call_.y_true, labels, n);
      guess_ = ops_.binary(labels, n);
      parameters_[0] = guess_;
    }
    body();
    if (guess_ && !guess_holds_) {
      guess_ = false;
      parameters_[0] = 0;
      body();
    }
  }

  template <class Piece>
  void each_piece(int64_t pieces, const Piece& piece) {
    parallel_pieces(call_.parallel_for, call_.parallel_context, pieces, stream_, piece);
  }

  double total() {
    const int64_t pieces = ceil_div(elements_, kPiece);
    std::vector<double> partial(pieces);
    each_piece(pieces, [&](int64_t piece) {
      double sum = 0;
      each_tile(piece * kPiece, std::min(elements_, (piece + 1) * kPiece), true,
                [&](const T* value, int64_t n) { sum += double(ops_.sum(value, n)); });
      partial[piece] = sum;
    });
    double sum = 0;
    for (const double value : partial) sum += value;
    return sum;
  }

  // A row's sum is taken in an order that its length alone decides.
  void row_sums(T* rows) {
    const int64_t columns = call_.columns;
    const double factor = reduction_factor();
    if (!columns) {
      std::fill(rows, rows + call_.rows, T(0) * T(factor));
      return;
    }
    if (columns <= kPiece) {
      const int64_t rows_per_piece = kPiece / columns;
      each_piece(ceil_div(call_.rows, rows_per_piece), [&](int64_t piece) {
        const int64_t first = piece * rows_per_piece;
        const int64_t last = std::min(call_.rows, first + rows_per_piece);
        const int64_t rows_per_tile = std::max<int64_t>(1, kTile / columns);
        for (int64_t row = first; row < last; row += rows_per_tile) {
          const int64_t end = std::min(last, row + rows_per_tile);
          double sum = 0;
          each_tile(row * columns, end * columns, true, [&](const T* value, int64_t n) {
            if (n < columns) {
              sum += double(ops_.sum(value, n));
              return;
            }
            ops_.row_sums(value, end - row, columns, T(factor), rows + row);
          });
          if (columns > kTile) rows[row] = T(sum * factor);
        }
      });
      return;
    }
    const int64_t chunks = ceil_div(columns, kPiece);
    std::vector<double> partial(call_.rows * chunks);
    each_piece(call_.rows * chunks, [&](int64_t piece) {
      const int64_t begin = piece / chunks * columns + piece % chunks * kPiece;
      const int64_t end = std::min(begin + kPiece, (piece / chunks + 1) * columns);
      double sum = 0;
      each_tile(begin, end, true,
                [&](const T* value, int64_t n) { sum += double(ops_.sum(value, n)); });
      partial[piece] = sum;
    });
    for (int64_t row = 0; row < call_.rows; ++row) {
      double sum = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[row * chunks + chunk];
      rows[row] = T(sum * factor);
    }
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

  // Hands the weighted values of each tile in [begin, end) to `take`, and writes the gradient.
  template <class Take>
  void each_tile(int64_t begin, int64_t end, bool want_value, const Take& take) {
    alignas(64) T labels[kTile], predictions[kTile], columns[kTile], values[kTile], slopes[kTile],
        weights[kTile];
    const bool weighted = weight_.data || upstream_.data;
    for (; begin < end; begin += kTile) {
      const int64_t n = std::min(kTile, end - begin);
      const int64_t padded = ceil_div(n, kLanes) * kLanes;
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
      const bool hard = loops_.hard_labels && ops_.binary(label, n);
      (hard ? loops_.hard_labels : loops_.any)(
          parameters_, label, prediction, column_.data ? columns : nullptr, gradient_scale_,
          want_value ? values : nullptr, target ? slope : nullptr, padded);
      if (weighted) {
        if (weight_.data)
          weight_.visit(begin, n, [&](int64_t i, T value) { weights[i] = value; });
        else
          std::fill(weights, weights + n, T(1));
        if (upstream_.data)
          upstream_.visit(begin, n, [&](int64_t i, T value) { weights[i] *= value; });
        if (want_value) ops_.multiply(weights, values, n);
        if (target) ops_.multiply(weights, slope, n);
      }
      if (target && !direct) ops_.store(call_.y_pred_dtype, slope, target, n, stream_);
      take(values, n);
    }
  }

  const fastloss_elementwise& call_;
  const Loss& loss_;
  const TileOps<T>& ops_;
  const TileLoops<T> loops_;
  const int64_t elements_, label_size_, prediction_size_;
  double parameters_[kMaxParameters] = {};
  Pattern<T> weight_, column_, upstream_;
  char* gradient_ = nullptr;
  T gradient_scale_ = 1;
  bool stream_ = false, guess_ = false;
  std::atomic<bool> guess_holds_{true};
};

const Loss* check(const fastloss_elementwise& call) {
  const Loss* loss = find_loss(kLosses, call.loss);
  if (!loss) {
    fail("loss '%s' is unknown; the elementwise losses are: %s", call.loss,
         fastloss_elementwise_losses());
  } else if (call.parameter_count != loss->parameter_count()) {
    fail("loss '%s' takes %d parameters (%s), not %d", call.loss, loss->parameter_count(),
         loss->parameters, call.parameter_count);
  } else if (!dtype_size(call.y_true_dtype)) {
    fail("y_true has dtype code %d; expected a boolean, an integer or a float", call.y_true_dtype);
  } else if (!is_prediction_dtype(call.y_pred_dtype)) {
    fail("y_pred has dtype code %d; expected float16, bfloat16, float32 or float64",
         call.y_pred_dtype);
  } else if (call.rows < 0 || call.columns < 0 || call.replicas < 1) {
    fail("rows %lld and columns %lld must not be negative and replicas %d must be positive",
         static_cast<long long>(call.rows), static_cast<long long>(call.columns), call.replicas);
  } else if (call.reduction < FASTLOSS_NONE || call.reduction > FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT) {
    fail("reduction code %d is unknown", call.reduction);
  } else {
    return loss;
  }
  return nullptr;
}

}  // namespace

const LossEntry* find_elementwise(const char* name) { return find_loss(kLosses, name); }

}  // namespace fastloss

int fastloss_elementwise_forward(const fastloss_elementwise* call, void* loss, void* gradient) {
  using namespace fastloss;
  const Loss* entry = check(*call);
  if (!entry) return -1;
  if (gradient && call->reduction == FASTLOSS_NONE)
    return fail("a loss per row has no gradient of its own: call fastloss_elementwise_backward");
  if (gradient == call->y_pred && gradient && entry->binary)
    return fail("loss '%s' may walk twice, so its gradient cannot overwrite y_pred", call->loss);
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    Walk<double>(*call, *entry).forward(static_cast<double*>(loss), gradient);
  else
    Walk<float>(*call, *entry).forward(static_cast<float*>(loss), gradient);
  return 0;
}

int fastloss_elementwise_backward(const fastloss_elementwise* call, const void* upstream,
                                  void* gradient) {
  using namespace fastloss;
  const Loss* entry = check(*call);
  if (!entry) return -1;
  if (gradient == call->y_pred && entry->binary && call->rows && call->columns)
    return fail("loss '%s' may walk twice, so its gradient cannot overwrite y_pred", call->loss);
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    Walk<double>(*call, *entry).backward(static_cast<const double*>(upstream), gradient);
  else
    Walk<float>(*call, *entry).backward(static_cast<const float*>(upstream), gradient);
  return 0;
}

int fastloss_elementwise_in_place(const char* loss) {
  const fastloss::Loss* entry = fastloss::find_loss(fastloss::kLosses, loss);
  return entry && !entry->binary;
}

const char* fastloss_elementwise_losses(void) {
  static const std::string names = fastloss::names_of(fastloss::kLosses);
  return names.c_str();
}
