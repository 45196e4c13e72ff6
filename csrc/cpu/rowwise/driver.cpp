// The driver of the rowwise pattern. A long row is walked chunk by chunk, its classes being the
// lanes; short rows, and rows whose classes lie apart in memory, go kRowLanes abreast. Either way a
// row that fits the caches is read from memory once, and its bits do not depend on other rows.
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "api/error.h"
#include "api/fastloss.h"
#include "api/rowwise_call.h"
#include "cpu/kernels/isa.h"
#include "cpu/kernels/rowwise.h"
#include "cpu/kernels/tile.h"
#include "cpu/rowwise/interleave.h"
#include "cpu/runtime/broadcast_weights.h"
#include "cpu/runtime/labels.h"
#include "cpu/runtime/pieces.h"
#include "cpu/runtime/scratch.h"

namespace fastloss {
namespace {

// Classes of a long row that are walked together, in the L1 cache.
constexpr int64_t kChunk = 2048;
// Rows of fewer classes go abreast.
constexpr int64_t kShortRow = 256;
// The exponentials of a longer row are taken twice, as keeping them would cost as much memory
// traffic as the row.
constexpr int64_t kKeptRow = int64_t(1) << 19;
// Labels are fetched with the logits of a row if all of it stays in a cache of so many bytes.
constexpr int64_t kSecondCache = int64_t(1) << 19;
constexpr int64_t kNoRow = std::numeric_limits<int64_t>::max();

// One of the two matrices.
template <class T>
struct Side : Matrix {
  Normalization normalization;
  T pad;
};

// What is known of a row before its classes are looked at.
template <class T>
struct RowTask {
  int64_t label;
  bool skipped;  // ignored, or with a label out of range: no loss, no gradient
  T weight;      // of the loss
  T scale;       // of the gradient
};

template <class T>
struct RowTasks {
  int64_t label[kRowLanes];  // of a skipped row: 0
  bool skipped[kRowLanes], skips;
  Lanes<T> weight, scale;

  RowTask<T> at(int64_t k) const { return {label[k], skipped[k], weight.lane[k], scale.lane[k]}; }
};

template <class T>
class Walk {
 public:
  explicit Walk(const fastloss_rowwise& call)
      : call_(call),
        ops_(isa().ops<T>()),
        row_ops_(isa().row_ops<T>()),
        loops_(row_ops_.find(call.loss, call.parameters)),
        join_two_(isa().row_ops<double>().find(call.loss, call.parameters).dense.combine_two),
        rows_(call.outer * call.inner),
        sparse_(find_loss(kRowwiseLosses, call.loss)->sparse),
        picks_(loops_.sparse.at_label && call.label_smoothing == 0),
        abreast_(call.classes, call.inner, isa()),
        prediction_{
            {call.y_pred, call.y_pred_dtype}, loops_.prediction, loops_.dense.pad_prediction},
        label_{{call.y_true, call.y_true_dtype}, loops_.label, loops_.dense.pad_label},
        class_weight_(static_cast<const T*>(call.class_weight)) {
    if (call.weight && call.weight_count)
      weight_ = {static_cast<const T*>(call.weight), call.weight_count, call.weight_repeat};
  }

  // Fails for a label that is no class.
  int forward(T* loss, void* gradient, T* log_sum_exp, uint8_t* hit) {
    log_sum_exp_ = log_sum_exp;
    hit_ = hit;
    find_ignored();
    const double factor = reduction_factor();
    gradient_scale_ = T(factor);
    const bool each = call_.reduction == FASTLOSS_NONE;
    const double total = walk(gradient, each ? loss : nullptr);
    if (!each) *loss = T(total * factor);
    return report();
  }

  int backward(const T* upstream, void* gradient) {
    find_ignored();
    gradient_scale_ = T(reduction_factor());
    if (call_.reduction == FASTLOSS_NONE)
      upstream_ = upstream;
    else
      gradient_scale_ *= *upstream;
    walk(gradient, nullptr);
    return report();
  }

 private:
  static constexpr int64_t kW = kRowLanes;

  int report() const {
    const int64_t row = bad_row_.load();
    if (row == kNoRow) return 0;
    return fail(
        "%s: the label of row %lld is %lld; expected 0 to %lld, as y_pred has %lld classes%s",
        call_.loss, static_cast<long long>(row), static_cast<long long>(label_at(row)),
        static_cast<long long>(call_.classes - 1), static_cast<long long>(call_.classes),
        call_.has_ignore_class ? ", or ignore_class" : "");
  }

  bool along() const { return call_.inner == 1 && call_.classes >= kShortRow; }

  int64_t rows_per_piece() const {
    const int64_t rows = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, call_.classes));
    return along() ? rows : std::max(kW, rows / kW * kW);
  }

  // Calls visit(class, number) for the classes of a row until it says false.
  template <class Visit>
  void each_class(const Side<T>& side, int64_t row, const Visit& visit) const {
    alignas(64) T some[kW];
    const int64_t step = call_.inner == 1 ? kW : 1;
    for (int64_t begin = 0; begin < call_.classes; begin += step) {
      const int64_t n = std::min(step, call_.classes - begin);
      ops_.load(side.dtype, side.data + (abreast_.offset(row) + begin * call_.inner) * side.size,
                some, n);
      for (int64_t k = 0; k < n; ++k)
        if (!visit(begin + k, some[k])) return;
    }
  }

  // A row of labels is ignored if nothing is outside of the ignored class.
  void find_ignored() {
    if (!call_.has_ignore_class || sparse_ || !rows_) return;
    ignored_.resize(rows_);
    const int64_t per_piece = rows_per_piece();
    parallel(
        call_.parallel_for, call_.parallel_context, ceil_div(rows_, per_piece), [&](int64_t piece) {
          for (int64_t row = piece * per_piece; row < std::min(rows_, (piece + 1) * per_piece);
               ++row) {
            bool empty = true;
            each_class(label_, row,
                       [&](int64_t c, T y) { return empty = y == 0 || c == call_.ignore_class; });
            ignored_[row] = empty;
          }
        });
  }

  int64_t label_at(int64_t row) const {
    int64_t label;
    read_labels(label_.dtype, label_.data, row, 1, &label);
    return label;
  }

  bool is_ignored(int64_t row) const {
    return call_.has_ignore_class &&
           (sparse_ ? label_at(row) == call_.ignore_class : ignored_[row]);
  }

  double reduction_factor() const {
    if (call_.reduction == FASTLOSS_NONE || call_.reduction == FASTLOSS_SUM) return 1;
    double divisor = double(rows_);
    const bool by_weight =
        call_.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT && weight_.data != nullptr;
    if (call_.has_ignore_class) {
      divisor = 0;
      for (int64_t row = 0; row < rows_; ++row)
        if (!is_ignored(row)) divisor += by_weight ? double(weight_.at(row)) : 1.0;
    } else if (by_weight) {
      divisor = 0;
      for (int64_t i = 0; i < weight_.count; ++i) divisor += double(weight_.data[i]);
      if (call_.weight_expansion > 1) divisor /= double(call_.weight_expansion);
    }
    return divisor == 0 ? 0 : 1 / (divisor * call_.replicas);
  }

  void read_tasks(int64_t first, int64_t count, RowTasks<T>* tasks) {
    std::fill(tasks->skipped, tasks->skipped + kW, false);
    tasks->skips = false;
    if (sparse_) {
      read_labels(label_.dtype, label_.data, first, count, tasks->label);
      std::fill(tasks->label + count, tasks->label + kW, int64_t(0));
      const uint64_t classes = call_.classes;
      const uint64_t ignored = call_.has_ignore_class ? uint64_t(call_.ignore_class) : classes;
      // Most blocks have nothing to skip, which a loop without branches finds out.
      bool skips = false;
      for (int64_t k = 0; k < kW; ++k) {
        const uint64_t label = tasks->label[k];
        skips |= (label >= classes) | (label == ignored);
      }
      if (skips) skip_labels(first, count, tasks);
    } else if (call_.has_ignore_class) {
      for (int64_t k = 0; k < count; ++k) tasks->skips |= tasks->skipped[k] = ignored_[first + k];
    }
    fill(&tasks->weight, T(1));
    if (weight_.data)
      weight_.visit(first, count, [&](int64_t k, T weight) { tasks->weight.lane[k] = weight; });
    for (int64_t k = 0; k < kW; ++k) tasks->scale.lane[k] = inner_scale_ * tasks->weight.lane[k];
    if (upstream_)
      for (int64_t k = 0; k < count; ++k) tasks->scale.lane[k] *= upstream_[first + k];
  }

  void skip_labels(int64_t first, int64_t count, RowTasks<T>* tasks) {
    for (int64_t k = 0; k < count; ++k) {
      const bool ignored = call_.has_ignore_class && tasks->label[k] == call_.ignore_class;
      const bool is_class = uint64_t(tasks->label[k]) < uint64_t(call_.classes);
      if (is_class && !ignored) continue;
      tasks->skipped[k] = tasks->skips = true;
      tasks->label[k] = 0;
      if (!ignored) report_bad(first + k);
    }
  }

  void report_bad(int64_t row) {
    int64_t known = bad_row_.load();
    while (row < known && !bad_row_.compare_exchange_weak(known, row)) {
    }
  }

  double walk(void* gradient, T* losses) {
    if (!rows_) return 0;
    gradient_ = static_cast<char*>(gradient);
    losses_ = losses;
    inner_scale_ = gradient_scale_;
    if (scales_logits(prediction_) || loops_.label == Normalization::softmax)
      inner_scale_ /= T(call_.temperature);
    const int64_t elements = rows_ * call_.classes;
    const bool stream =
        gradient && gradient != call_.y_pred && elements * prediction_.size >= kStreamBytes;
    stream_ = stream;
    const int64_t per_piece = rows_per_piece(), pieces = ceil_div(rows_, per_piece);
    std::vector<double> partial(pieces);
    parallel_pieces(call_.parallel_for, call_.parallel_context, pieces, stream, [&](int64_t piece) {
      const int64_t begin = piece * per_piece;
      const int64_t end = std::min(rows_, begin + per_piece);
      partial[piece] = of_label_alone() ? walk_labels(begin, end)
                       : along()        ? walk_along(begin, end)
                                        : walk_abreast(begin, end);
    });
    double total = 0;
    for (const double sum : partial) total += sum;
    return total;
  }

  void put_metrics(int64_t row, T loss, T log_sum_exp, bool hit) {
    if (losses_) losses_[row] = loss;
    if (log_sum_exp_) log_sum_exp_[row] = log_sum_exp;
    if (hit_) hit_[row] = hit;
  }

  // ---- The class of the label alone, in long rows: the lanes are rows.

  // Neither the loss nor its gradient looks at the other classes.
  bool of_label_alone() const {
    return picks_ && loops_.prediction == Normalization::none && along();
  }

  double walk_labels(int64_t begin, int64_t end) {
    Scratch scratch(2 * kChunk * int64_t(sizeof(T)));
    T *const slopes = scratch.take<T>(kChunk), *const buffer = scratch.take<T>(kChunk);
    std::fill(slopes, slopes + kChunk, T(0));
    OpenLine open;
    RowTasks<T> tasks;
    double total = 0;
    for (int64_t first = begin; first < end; first += kW) {
      const int64_t count = std::min(kW, end - first);
      read_tasks(first, count, &tasks);
      Lanes<T> x, value, slope;
      fill(&x, T(1));
      for (int64_t k = 0; k < count; ++k)
        if (!tasks.skipped[k]) x.lane[k] = element(first + k, tasks.label[k]);
      loops_.sparse.at_label(call_.parameters, x, x, &value, &slope);
      for (int64_t k = 0; k < count; ++k) {
        const RowTask<T> task = tasks.at(k);
        const T weight = task.skipped ? T(0) : class_weight(task.label);
        const T loss = task.skipped ? T(0) : weight * value.lane[k] * task.weight;
        // The gradient may take the place of the predictions.
        const bool hit = hit_ && !task.skipped && is_hit(first + k, task, {}, buffer);
        put_metrics(first + k, loss, T(0), hit);
        total += double(loss);
        if (gradient_)
          store_slope(first + k, task, weight * slope.lane[k] * task.scale, slopes, &open);
      }
    }
    ops_.close(&open);
    return total;
  }

  // The slope of the label among zeros; `slopes` are such.
  void store_slope(int64_t row, const RowTask<T>& task, T slope, T* slopes, OpenLine* open) const {
    for (int64_t begin = 0; begin < call_.classes; begin += kChunk) {
      const Chunk chunk = chunk_at(begin);
      const int64_t place = task.label - begin;
      const bool inside = !task.skipped && place >= 0 && place < chunk.size;
      if (inside) slopes[place] = slope;
      ops_.store(prediction_.dtype, slopes,
                 gradient_ + (row * call_.classes + begin) * prediction_.size, chunk.size, stream_,
                 open);
      if (inside) slopes[place] = T(0);
    }
  }

  // ---- Along: the lanes are classes.

  struct Chunk {
    int64_t begin, size, padded;
  };

  Chunk chunk_at(int64_t begin) const {
    const int64_t size = std::min(kChunk, call_.classes - begin);
    return {begin, size, ceil_div(size, kW) * kW};
  }

  struct Buffers {
    T *label, *prediction, *label_exps, *prediction_exps, *slope, *gradient;
    // Of the whole row, and the reference of each chunk, where they are kept.
    T *kept_label_exps, *kept_prediction_exps, *label_references, *prediction_references;
    OpenLine* open;  // of the gradient
  };

  // The softmax of a row of logits.
  struct Normalizer {
    double maximum, sum, log_sum;
    int64_t place;  // where the chunk of the maximum begins
  };

  const T* load_chunk(const Side<T>& side, int64_t row, Chunk chunk, T* buffer, T* slope) const {
    const char* from = side.data + (row * call_.classes + chunk.begin) * side.size;
    const bool soft = scales_logits(side);
    if (side.dtype == dtype_of<T>() && chunk.size == chunk.padded) {
      const T* const x = reinterpret_cast<const T*>(from);
      if (!soft) return x;
      scale_logits(side, x, chunk.padded, buffer, slope);
      return buffer;
    }
    ops_.load(side.dtype, from, buffer, chunk.size);
    std::fill(buffer + chunk.size, buffer + chunk.padded, side.pad);
    if (soft) {
      alignas(64) T raw[kChunk];
      std::copy(buffer, buffer + chunk.padded, raw);
      scale_logits(side, raw, chunk.padded, buffer, slope);
      std::fill(buffer + chunk.size, buffer + chunk.padded, side.pad);
    }
    return buffer;
  }

  bool scales_logits(const Side<T>& side) const {
    return side.normalization == Normalization::softmax &&
           (call_.temperature != 1 || call_.logit_softcap != 0);
  }

  void scale_logits(const Side<T>& side, const T* x, int64_t size, T* z, T* slope) const {
    const bool caps = &side == &prediction_;
    row_ops_.scale_logits(x, size, caps ? T(call_.logit_softcap) : T(0), T(1 / call_.temperature),
                          z, caps && call_.logit_softcap != 0 ? slope : nullptr);
  }

  Normalizer normalizer(const Side<T>& side, int64_t row, T* buffer, T* exps, T* kept,
                        T* references) const {
    Normalizer n = {-std::numeric_limits<double>::infinity(), 0, 0, 0};
    Lanes<T> lanes, reference;
    const int64_t of_class = prediction_.size + label_.size + int64_t(sizeof(T));
    const bool fetches_labels = !sparse_ && call_.classes * of_class <= kSecondCache;
    for (int64_t begin = 0, index = 0; begin < call_.classes; ++index) {
      const Chunk chunk = chunk_at(begin);
      const T* const x = load_chunk(side, row, chunk, buffer, nullptr);
      fill(&lanes, -std::numeric_limits<T>::infinity());
      row_ops_.maxima(x, chunk.padded, &lanes);
      const T largest = row_ops_.maximum(lanes);
      const bool empty = largest == -std::numeric_limits<T>::infinity();
      reference.lane[0] = empty ? T(0) : largest;
      fill(&lanes, T(-0.0));
      row_ops_.exps(x, chunk.padded, reference, false, kept ? kept + begin : exps, &lanes,
                    address(side, row * call_.classes + begin + chunk.size),
                    fetches_labels && &side == &prediction_
                        ? address(label_, row * call_.classes + begin)
                        : 0);
      const double sum = double(row_ops_.sum(lanes));
      if (empty) {
        n.sum += sum;
      } else if (double(largest) > n.maximum) {
        n.sum = n.sum * std::exp(n.maximum - double(largest)) + sum;
        n.maximum = double(largest);
        n.place = begin;
      } else {
        n.sum += sum * std::exp(double(largest) - n.maximum);
      }
      if (references) references[index] = largest;
      begin += chunk.size;
    }
    n.log_sum = std::log(n.sum);
    return n;
  }

  // It may lie past the array's end.
  static uintptr_t address(const Side<T>& side, int64_t element) {
    return reinterpret_cast<uintptr_t>(side.data) + uintptr_t(element * side.size);
  }

  // The exponentials of a chunk, and in `shares` what makes shares of them.
  const T* chunk_exps(const Normalizer& n, const T* x, Chunk chunk, int64_t index, const T* kept,
                      const T* references, T* buffer, RowNormalizer<T>* shares) const {
    if (kept) {
      const double below = double(references[index]) - n.maximum;
      shares->factor.lane[0] = T((below == 0 ? 1 : std::exp(below)) / n.sum);
      return kept + chunk.begin;
    }
    Lanes<T> reference, sums;
    fill(&sums, T(-0.0));
    reference.lane[0] = T(n.maximum);
    shares->factor.lane[0] = T(1 / n.sum);
    row_ops_.exps(x, chunk.padded, reference, false, buffer, &sums, reinterpret_cast<uintptr_t>(x),
                  0);
    return buffer;
  }

  // The labels of a chunk as numbers: as they came, or smoothed, weighed, made of a class.
  const T* chunk_labels(int64_t row, const RowTask<T>& task, Chunk chunk, T* buffer) const {
    if (!sparse_) {
      const T* const y = load_chunk(label_, row, chunk, buffer, nullptr);
      if (call_.label_smoothing == 0 && !class_weight_) return y;
      if (y != buffer) std::copy(y, y + chunk.size, buffer);
    } else {
      std::fill(buffer, buffer + chunk.padded, T(0));
      const int64_t place = task.label - chunk.begin;
      if (place >= 0 && place < chunk.size) buffer[place] = T(1);
    }
    if (call_.label_smoothing != 0 || class_weight_) {
      alignas(64) T weights[kChunk];
      if (class_weight_) {
        std::copy(class_weight_ + chunk.begin, class_weight_ + chunk.begin + chunk.size, weights);
        std::fill(weights + chunk.size, weights + chunk.padded, T(0));
      }
      row_ops_.smooth(buffer, chunk.padded, T(1 - call_.label_smoothing),
                      T(call_.label_smoothing / double(call_.classes)),
                      class_weight_ ? weights : nullptr, false);
      std::fill(buffer + chunk.size, buffer + chunk.padded, label_.pad);
    }
    return buffer;
  }

  T class_weight(int64_t label) const { return class_weight_ ? class_weight_[label] : T(1); }

  // Whether the label is the first of the largest classes.
  bool is_hit(int64_t row, const RowTask<T>& task, const Normalizer& n, T* buffer) const {
    if (!sparse_)
      return first_largest(prediction_, row, buffer) == first_largest(label_, row, buffer);
    // Softened logits may not tell two classes apart.
    if (loops_.prediction != Normalization::softmax || scales_logits(prediction_))
      return first_largest(prediction_, row, buffer) == task.label;
    return double(element(row, task.label)) == n.maximum &&
           first_in_chunk(prediction_, row, chunk_at(n.place), T(n.maximum), buffer) == task.label;
  }

  int64_t first_largest(Side<T> side, int64_t row, T* buffer) const {
    side.normalization = Normalization::none;
    T best = 0;
    int64_t place = -1;
    for (int64_t begin = 0; begin < call_.classes;) {
      const Chunk chunk = chunk_at(begin);
      Lanes<T> lanes;
      fill(&lanes, -std::numeric_limits<T>::infinity());
      row_ops_.maxima(load_chunk(side, row, chunk, buffer, nullptr), chunk.padded, &lanes);
      const T largest = row_ops_.maximum(lanes);
      if (place < 0 || largest > best) best = largest, place = begin;
      begin += chunk.size;
    }
    return first_in_chunk(side, row, chunk_at(place), best, buffer);
  }

  int64_t first_in_chunk(const Side<T>& side, int64_t row, Chunk chunk, T bound, T* buffer) const {
    Lanes<T> bounds;
    bounds.lane[0] = bound;
    int32_t places[kW];
    row_ops_.first_reaching(load_chunk(side, row, chunk, buffer, nullptr), chunk.padded, bounds,
                            false, places);
    int64_t first = chunk.padded;
    for (int64_t k = 0; k < kW; ++k) first = std::min(first, places[k] * kW + k);
    return chunk.begin + first;
  }

  void store_chunk(int64_t row, Chunk chunk, const Buffers& b) const {
    if (call_.logit_softcap != 0) ops_.multiply(b.slope, b.gradient, chunk.size);
    ops_.store(prediction_.dtype, b.gradient,
               gradient_ + (row * call_.classes + chunk.begin) * prediction_.size, chunk.size,
               stream_, b.open);
  }

  double walk_along(int64_t begin, int64_t end) {
    const int64_t classes = call_.classes;
    const bool keeps = classes <= kKeptRow && (gradient_ || !picks_);
    const int64_t padded = ceil_div(classes, kW) * kW, chunks = ceil_div(classes, kChunk) + 1;
    Scratch scratch((6 * kChunk + 2 * (padded + chunks)) * int64_t(sizeof(T)) + 10 * 64);
    Buffers b;
    for (T** buffer :
         {&b.label, &b.prediction, &b.label_exps, &b.prediction_exps, &b.slope, &b.gradient})
      *buffer = scratch.take<T>(kChunk);
    const bool label_logits = loops_.label == Normalization::softmax;
    b.kept_prediction_exps = keeps ? scratch.take<T>(padded) : nullptr;
    b.prediction_references = keeps ? scratch.take<T>(chunks) : nullptr;
    b.kept_label_exps = keeps && label_logits ? scratch.take<T>(padded) : nullptr;
    b.label_references = keeps && label_logits ? scratch.take<T>(chunks) : nullptr;
    OpenLine open;
    b.open = &open;
    RowTasks<T> tasks;
    double total = 0;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t k = (row - begin) % kW;
      if (k == 0) read_tasks(row, std::min(kW, end - row), &tasks);
      const RowTask<T> task = tasks.at(k);
      if (task.skipped) {
        if (gradient_)
          std::memset(gradient_ + row * classes * prediction_.size, 0, classes * prediction_.size);
        put_metrics(row, T(0), T(0), false);
        continue;
      }
      Normalizer n = {};
      if (loops_.prediction == Normalization::softmax)
        n = normalizer(prediction_, row, b.prediction, b.prediction_exps, b.kept_prediction_exps,
                       b.prediction_references);
      else if (loops_.prediction == Normalization::sum)
        n.sum = sum_of_parts(row, b.prediction);
      const T log_sum_exp = T(n.maximum + n.log_sum);
      // The gradient may take the place of the predictions.
      const bool hit = hit_ && is_hit(row, task, n, b.prediction);
      T value = picks_ ? pick_row(row, task, n, b) : dense_row(row, task, n, b);
      if (call_.z_loss != 0) value += T(call_.z_loss) * log_sum_exp * log_sum_exp;
      value *= task.weight;
      put_metrics(row, value, log_sum_exp, hit);
      total += double(value);
    }
    ops_.close(&open);
    return total;
  }

  double sum_of_parts(int64_t row, T* buffer) const {
    double sum = 0;
    for (int64_t begin = 0; begin < call_.classes;) {
      const Chunk chunk = chunk_at(begin);
      const T* const x = load_chunk(prediction_, row, chunk, buffer, nullptr);
      Lanes<T> lanes;
      fill(&lanes, T(-0.0));
      loops_.sum_clipped(call_.parameters, x, chunk.padded, &lanes);
      sum += double(row_ops_.sum(lanes));
      if (chunk.size < chunk.padded)
        sum -= double(chunk.padded - chunk.size) * double(part(prediction_.pad));
      begin += chunk.size;
    }
    return sum;
  }

  T part(T x) const {
    Lanes<T> one, sums;
    fill(&one, x);
    fill(&sums, T(-0.0));
    loops_.sum_clipped(call_.parameters, one.lane, kW, &sums);
    return sums.lane[0];
  }

  T element(int64_t row, int64_t c) const {
    alignas(64) T buffer[kW], raw[kW];
    ops_.load(prediction_.dtype,
              prediction_.data + (abreast_.offset(row) + c * call_.inner) * prediction_.size, raw,
              1);
    if (!scales_logits(prediction_)) return raw[0];
    std::fill(raw + 1, raw + kW, raw[0]);
    scale_logits(prediction_, raw, kW, buffer, nullptr);
    return buffer[0];
  }

  // d z_loss * lse^2 / d lse
  T z_loss_slope(double log_sum_exp) const { return T(2 * call_.z_loss * log_sum_exp); }

  T pick_row(int64_t row, const RowTask<T>& task, const Normalizer& n, const Buffers& b) const {
    Lanes<T> p, z, value, slope;
    const T x = element(row, task.label);
    const bool logits = loops_.prediction == Normalization::softmax;
    const double log_p = (double(x) - n.maximum) - n.log_sum;
    fill(&z, logits ? T(log_p) : x);
    fill(&p, logits ? T(std::exp(log_p)) : T(double(part(x)) / n.sum));
    loops_.sparse.at_label(call_.parameters, p, z, &value, &slope);
    const T weight = class_weight(task.label);
    if (!gradient_) return weight * value.lane[0];

    const T own = weight * slope.lane[0];
    T patch = own * task.scale, others;
    if (logits) {
      others = (z_loss_slope(n.maximum + n.log_sum) - own) * task.scale;
    } else {
      others = T(-double(patch) / n.sum);
      patch = own != 0 && loops_.unclipped(call_.parameters, x) ? patch / x : T(0) * own;
    }
    const bool reads = !logits || call_.logit_softcap != 0 || !b.kept_prediction_exps;
    // Away from the label the gradient is a multiple of the exponentials.
    const bool writes_through = logits && call_.logit_softcap == 0;
    for (int64_t begin = 0, index = 0; begin < call_.classes; ++index) {
      const Chunk chunk = chunk_at(begin);
      RowBlock<T> block = {nullptr, nullptr, nullptr, nullptr, chunk.padded};
      if (reads) block.prediction = load_chunk(prediction_, row, chunk, b.prediction, b.slope);
      Lanes<T> factor;
      factor.lane[0] = others;
      if (logits) {
        RowNormalizer<T> shares;
        block.prediction_exps =
            chunk_exps(n, block.prediction, chunk, index, b.kept_prediction_exps,
                       b.prediction_references, b.prediction_exps, &shares);
        factor.lane[0] *= shares.factor.lane[0];
      }
      const int64_t place = task.label - begin;
      if (writes_through && (place < 0 || place >= chunk.size)) {
        ops_.store_scaled(prediction_.dtype, factor.lane[0], block.prediction_exps,
                          gradient_ + (row * call_.classes + begin) * prediction_.size, chunk.size,
                          stream_, b.open);
        begin += chunk.size;
        continue;
      }
      loops_.sparse.gradients(call_.parameters, block, factor, false, b.gradient);
      if (place >= 0 && place < chunk.size) b.gradient[place] += patch;
      store_chunk(row, chunk, b);
      begin += chunk.size;
    }
    return weight * value.lane[0];
  }

  static void set_shares(const Normalizer& n, RowNormalizer<T>* shares) {
    shares->factor.lane[0] = T(1 / n.sum);
    shares->shift.lane[0] = T(n.maximum);
    shares->log_sum.lane[0] = T(n.log_sum);
  }

  T dense_row(int64_t row, const RowTask<T>& task, const Normalizer& n, const Buffers& b) const {
    RowState<T> state;
    set_shares(n, &state.prediction);
    Normalizer label = {};
    if (loops_.label == Normalization::softmax) {
      label = normalizer(label_, row, b.label, b.label_exps, b.kept_label_exps, b.label_references);
      set_shares(label, &state.label);
    }
    state.scale.lane[0] = task.scale;
    if (loops_.prediction == Normalization::sum)
      state.scale.lane[0] = T(double(task.scale) / n.sum);
    state.z_loss_slope.lane[0] = z_loss_slope(n.maximum + n.log_sum);

    const auto block_of = [&](Chunk chunk, int64_t index) {
      RowBlock<T> block = {chunk_labels(row, task, chunk, b.label), nullptr,
                           load_chunk(prediction_, row, chunk, b.prediction, b.slope), nullptr,
                           chunk.padded};
      if (loops_.prediction == Normalization::softmax)
        block.prediction_exps =
            chunk_exps(n, block.prediction, chunk, index, b.kept_prediction_exps,
                       b.prediction_references, b.prediction_exps, &state.prediction);
      if (loops_.label == Normalization::softmax)
        block.label_exps = chunk_exps(label, block.label, chunk, index, b.kept_label_exps,
                                      b.label_references, b.label_exps, &state.label);
      return block;
    };
    Lanes<T> sums[3];
    double total[3];
    for (int64_t begin = 0, index = 0; begin < call_.classes; ++index) {
      const Chunk chunk = chunk_at(begin);
      loops_.dense.identity(sums);
      loops_.dense.accumulate(call_.parameters, block_of(chunk, index), state, false, sums);
      loops_.dense.combine(sums);
      const double joined[3] = {double(sums[0].lane[0]), double(sums[1].lane[0]),
                                double(sums[2].lane[0])};
      if (index)
        join_two_(joined, total);
      else
        std::copy(joined, joined + 3, total);
      begin += chunk.size;
    }
    for (int i = 0; i < 3; ++i) sums[i].lane[0] = T(total[i]);
    loops_.dense.finalize(call_.parameters, sums);
    if (!gradient_) return sums[0].lane[0];
    state.b = sums[1], state.c = sums[2];
    for (int64_t begin = 0, index = 0; begin < call_.classes; ++index) {
      const Chunk chunk = chunk_at(begin);
      loops_.dense.gradients(call_.parameters, block_of(chunk, index), state, false, b.gradient);
      store_chunk(row, chunk, b);
      begin += chunk.size;
    }
    return sums[0].lane[0];
  }

  // ---- Abreast: the lanes are rows.

  // Fills in what makes shares of a block, and its exponentials.
  void share_abreast(Normalization normalization, const T* x, uintptr_t ahead, T* exps,
                     RowNormalizer<T>* shares) const {
    const int64_t size = call_.classes * kW;
    Lanes<T> sum;
    fill(&sum, T(-0.0));
    if (normalization == Normalization::softmax) {
      fill(&shares->shift, -std::numeric_limits<T>::infinity());
      row_ops_.maxima(x, size, &shares->shift);
      for (T& shift : shares->shift.lane)
        shift = shift == -std::numeric_limits<T>::infinity() ? T(0) : shift;
      row_ops_.exps(x, size, shares->shift, true, exps, &sum, ahead, 0);
      row_ops_.log(sum, &shares->log_sum);
    } else if (normalization == Normalization::sum) {
      loops_.sum_clipped(call_.parameters, x, size, &sum);
    } else {
      return;
    }
    for (int64_t k = 0; k < kW; ++k) shares->factor.lane[k] = T(1) / sum.lane[k];
  }

  void labels_abreast(int64_t first, int64_t count, const RowTasks<T>& tasks, T* rows,
                      T* lanes) const {
    const int64_t size = call_.classes * kW;
    if (sparse_) {
      std::fill(lanes, lanes + size, T(0));
      for (int64_t k = 0; k < kW; ++k) lanes[tasks.label[k] * kW + k] = T(1);
    } else {
      abreast_.load(label_, first, count, rows, lanes);
    }
    if (call_.label_smoothing != 0 || class_weight_)
      row_ops_.smooth(lanes, size, T(1 - call_.label_smoothing),
                      T(call_.label_smoothing / double(call_.classes)), class_weight_, true);
  }

  void first_largest_abreast(const T* x, int32_t* places) const {
    const int64_t size = call_.classes * kW;
    Lanes<T> largest;
    fill(&largest, -std::numeric_limits<T>::infinity());
    row_ops_.maxima(x, size, &largest);
    row_ops_.first_reaching(x, size, largest, true, places);
  }

  void hits_abreast(int64_t first, int64_t count, const RowTasks<T>& tasks, const T* prediction,
                    T* rows, T* label, bool* hits) const {
    int32_t predicted[kW], expected[kW];
    first_largest_abreast(prediction, predicted);
    std::copy(tasks.label, tasks.label + kW, expected);
    if (!sparse_) {
      abreast_.load(label_, first, count, rows, label);
      first_largest_abreast(label, expected);
    }
    for (int64_t k = 0; k < kW; ++k) hits[k] = predicted[k] == expected[k];
  }

  double walk_abreast(int64_t begin, int64_t end) {
    const int64_t size = call_.classes * kW;
    const bool caps = gradient_ && call_.logit_softcap != 0;
    Scratch scratch(7 * (size * int64_t(sizeof(T)) + 64));
    T* const rows = scratch.take<T>(size);
    T* const prediction = scratch.take<T>(size);
    T* const exps = scratch.take<T>(size);
    T* const label = scratch.take<T>(size);
    T* const label_exps = scratch.take<T>(size);
    T* const gradient = scratch.take<T>(size);
    T* const slope = scratch.take<T>(size);
    RowBlock<T> block = {label, label_exps, prediction, exps, size};
    RowTasks<T> tasks;
    RowState<T> state = {};
    double total[kW] = {};
    bool hits[kW] = {};
    for (int64_t first = begin; first < end; first += kW) {
      const int64_t count = std::min(kW, end - first);
      read_tasks(first, count, &tasks);
      abreast_.load(prediction_, first, count, rows, prediction);
      if (hit_) hits_abreast(first, count, tasks, prediction, rows, label, hits);
      if (scales_logits(prediction_)) {
        std::copy(prediction, prediction + size, gradient);
        scale_logits(prediction_, gradient, size, prediction, caps ? slope : nullptr);
      }
      const uintptr_t ahead = abreast_.next(prediction_, first, prediction);
      share_abreast(loops_.prediction, prediction, ahead, exps, &state.prediction);
      Lanes<T> value, log_sum_exp;
      for (int64_t k = 0; k < kW; ++k)
        log_sum_exp.lane[k] = state.prediction.shift.lane[k] + state.prediction.log_sum.lane[k];
      if (call_.z_loss != 0)
        for (int64_t k = 0; k < kW; ++k)
          state.z_loss_slope.lane[k] = z_loss_slope(double(log_sum_exp.lane[k]));
      if (picks_)
        pick_abreast(tasks, block, state, &value, gradient);
      else
        dense_abreast(first, tasks, count, block, &state, rows, label, label_exps, &value,
                      gradient);
      if (call_.z_loss != 0)
        for (int64_t k = 0; k < kW; ++k)
          value.lane[k] += T(call_.z_loss) * log_sum_exp.lane[k] * log_sum_exp.lane[k];
      for (int64_t k = 0; k < kW; ++k) value.lane[k] *= tasks.weight.lane[k];
      std::fill(value.lane + count, value.lane + kW, T(0));
      if (tasks.skips)
        for (int64_t k = 0; k < kW; ++k)
          if (tasks.skipped[k]) value.lane[k] = log_sum_exp.lane[k] = T(0);
      for (int64_t k = 0; k < kW; ++k) total[k] += double(value.lane[k]);
      if (losses_ || log_sum_exp_ || hit_)
        for (int64_t k = 0; k < count; ++k)
          put_metrics(first + k, value.lane[k], log_sum_exp.lane[k], hits[k] && !tasks.skipped[k]);
      if (!gradient_) continue;
      if (caps) ops_.multiply(slope, gradient, size);
      if (tasks.skips)
        for (int64_t k = 0; k < count; ++k)
          if (tasks.skipped[k])
            for (int64_t c = 0; c < call_.classes; ++c) gradient[c * kW + k] = T(0);
      abreast_.store(first, count, gradient, rows, prediction_.dtype, gradient_, stream_);
    }
    return std::accumulate(total, total + kW, 0.0);
  }

  void pick_abreast(const RowTasks<T>& tasks, const RowBlock<T>& block, const RowState<T>& state,
                    Lanes<T>* value, T* gradient) const {
    const RowNormalizer<T>& shares = state.prediction;
    Lanes<T> p, z, x, slope, others, patch;
    int64_t place[kW];
    for (int64_t k = 0; k < kW; ++k) {
      place[k] = tasks.label[k] * kW + k;
      x.lane[k] = block.prediction[place[k]];
    }
    if (loops_.prediction == Normalization::softmax) {
      for (int64_t k = 0; k < kW; ++k) p.lane[k] = block.prediction_exps[place[k]];
      for (int64_t k = 0; k < kW; ++k) {
        z.lane[k] = (x.lane[k] - shares.shift.lane[k]) - shares.log_sum.lane[k];
        p.lane[k] *= shares.factor.lane[k];
      }
    } else {
      z = p = x;
    }
    if (loops_.prediction == Normalization::sum) {
      fill(&p, T(-0.0));
      loops_.sum_clipped(call_.parameters, x.lane, kW, &p);
      for (int64_t k = 0; k < kW; ++k) p.lane[k] *= shares.factor.lane[k];
    }
    loops_.sparse.at_label(call_.parameters, p, z, value, &slope);
    if (class_weight_)
      for (int64_t k = 0; k < kW; ++k) {
        const T weight = class_weight_[tasks.label[k]];
        value->lane[k] *= weight;
        slope.lane[k] *= weight;
      }
    if (!gradient_) return;
    for (int64_t k = 0; k < kW; ++k) {
      const T scale = tasks.scale.lane[k];
      const T rest = (state.z_loss_slope.lane[k] - slope.lane[k]) * scale;
      others.lane[k] =
          loops_.prediction == Normalization::none ? T(0) : rest * shares.factor.lane[k];
      patch.lane[k] = slope.lane[k] * scale;
    }
    if (loops_.prediction == Normalization::sum)
      for (int64_t k = 0; k < kW; ++k)
        patch.lane[k] = slope.lane[k] != 0 && loops_.unclipped(call_.parameters, x.lane[k])
                            ? patch.lane[k] / x.lane[k]
                            : T(0) * slope.lane[k];
    loops_.sparse.gradients(call_.parameters, block, others, true, gradient);
    for (int64_t k = 0; k < kW; ++k) gradient[place[k]] += patch.lane[k];
  }

  void dense_abreast(int64_t first, const RowTasks<T>& tasks, int64_t count,
                     const RowBlock<T>& block, RowState<T>* state, T* rows, T* label, T* label_exps,
                     Lanes<T>* value, T* gradient) const {
    labels_abreast(first, count, tasks, rows, label);
    if (loops_.label == Normalization::softmax) {
      if (scales_logits(label_)) {
        std::copy(label, label + block.size, gradient);
        scale_logits(label_, gradient, block.size, label, nullptr);
      }
      share_abreast(Normalization::softmax, label, reinterpret_cast<uintptr_t>(label), label_exps,
                    &state->label);
    }
    Lanes<T> sums[3];
    loops_.dense.identity(sums);
    loops_.dense.accumulate(call_.parameters, block, *state, true, sums);
    loops_.dense.finalize(call_.parameters, sums);
    *value = sums[0];
    if (!gradient_) return;
    state->b = sums[1], state->c = sums[2];
    state->scale = tasks.scale;
    if (loops_.prediction == Normalization::sum)
      for (int64_t k = 0; k < kW; ++k) state->scale.lane[k] *= state->prediction.factor.lane[k];
    loops_.dense.gradients(call_.parameters, block, *state, true, gradient);
  }

  const fastloss_rowwise& call_;
  const TileOps<T>& ops_;
  const RowOps<T>& row_ops_;
  const RowLoops<T> loops_;
  void (*const join_two_)(const double*, double*);
  const int64_t rows_;
  const bool sparse_, picks_;
  const InterleavedRows<T> abreast_;
  const Side<T> prediction_, label_;
  const T* const class_weight_;
  BroadcastWeights<T> weight_;
  const T* upstream_ = nullptr;
  std::vector<uint8_t> ignored_;
  char* gradient_ = nullptr;
  T *losses_ = nullptr, *log_sum_exp_ = nullptr;
  uint8_t* hit_ = nullptr;
  T gradient_scale_ = 1;
  T inner_scale_ = 1;  // by the logits as the loss sees them
  bool stream_ = false;
  std::atomic<int64_t> bad_row_{kNoRow};
};

}  // namespace
}  // namespace fastloss

int fastloss_rowwise_forward(const fastloss_rowwise* call, void* loss, void* gradient,
                             void* log_sum_exp, uint8_t* hit) {
  using namespace fastloss;
  if (check_rowwise_forward(*call, gradient)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return Walk<double>(*call).forward(static_cast<double*>(loss), gradient,
                                       static_cast<double*>(log_sum_exp), hit);
  return Walk<float>(*call).forward(static_cast<float*>(loss), gradient,
                                    static_cast<float*>(log_sum_exp), hit);
}

int fastloss_rowwise_backward(const fastloss_rowwise* call, const void* upstream, void* gradient) {
  using namespace fastloss;
  if (check_rowwise(*call)) return -1;
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return Walk<double>(*call).backward(static_cast<const double*>(upstream), gradient);
  return Walk<float>(*call).backward(static_cast<const float*>(upstream), gradient);
}
