// The driver of the overlap pattern: one walk for the sums of each group, one for the gradient. The
// groups of a plain tensor lie in memory order, where the classes repeat with a period; a softmax
// or integer labels want the classes of a position together, so those positions go kRowLanes
// abreast.
#include <atomic>
#include <numeric>
#include <vector>

#include "api/error.h"
#include "api/overlap_call.h"
#include "cpu/kernels/isa.h"
#include "cpu/kernels/overlap_tile.h"
#include "cpu/kernels/tile.h"
#include "cpu/overlap/packed_labels.h"
#include "cpu/rowwise/interleave.h"
#include "cpu/runtime/broadcast_weights.h"
#include "cpu/runtime/labels.h"
#include "cpu/runtime/pieces.h"
#include "cpu/runtime/scratch.h"

namespace fastloss {
namespace {

struct Loss : LossEntry {
  GroupLoss (*alone)(const double* parameters, OverlapSums sums);
  double (*together)(const double* parameters, const OverlapSums* sums, const double* class_weight,
                     int64_t classes, GroupLoss* points);
};

template <class Functor>
GroupLoss group_alone(const double* parameters, OverlapSums sums) {
  return Functor(parameters)(sums);
}

template <class Functor>
double classes_together(const double* parameters, const OverlapSums* sums,
                        const double* class_weight, int64_t classes, GroupLoss* points) {
  return Functor(parameters)(sums, class_weight, classes, points);
}

#define FASTLOSS_GROUPS_alone(NAME) group_alone<NAME>, nullptr
#define FASTLOSS_GROUPS_together(NAME) nullptr, classes_together<NAME>
#define FASTLOSS_ENTRY(NAME, CLASSES, ...) {{#NAME, #__VA_ARGS__}, FASTLOSS_GROUPS_##CLASSES(NAME)},
constexpr Loss kLosses[] = {FASTLOSS_OVERLAP_LOSSES(FASTLOSS_ENTRY)};

// Elements that are walked together where they lie in memory order; fewer if intermediate results
// are to fit into the first cache with them.
constexpr int64_t kBlock = 1024, kFullBlock = 512;
// After so many additions the sums of a period go on in double precision.
constexpr int64_t kAdditions = 64;
constexpr int64_t kNoRow = std::numeric_limits<int64_t>::max();

template <class T>
const OverlapOps<T>& overlap_ops();
template <>
const OverlapOps<float>& overlap_ops<float>() {
  return *isa().overlap_f32;
}
template <>
const OverlapOps<double>& overlap_ops<double>() {
  return *isa().overlap_f64;
}

// A loss of elements or rows that rides along: of the same labels and predictions.
template <class T>
struct FusedTerm {
  const fastloss_term* term;
  TileLoop<T> tile;  // of an elementwise loss
  RowLoops<T> rows;  // of a rowwise one
  T scale;           // of its gradient
};

// Where the tensor is cut: segments, each a matrix (rows, columns) of `columns` classes.
struct Layout {
  bool abreast;
  int64_t segments, rows, columns;
  int64_t period;      // elements after which the classes repeat, a multiple of kLanes
  int64_t sum_period;  // elements after which the sums repeat
  int64_t rows_per_chunk, chunks_per_segment, chunks_per_piece;
  int64_t chunks() const { return segments * chunks_per_segment; }
  int64_t elements() const { return segments * rows * columns; }
};

// Of a number for each lane, by several sums, as one addition would wait for another.
template <class Lane>
double sum_of_lanes(const Lane& lane) {
  constexpr int64_t kSums = 4;
  double sums[kSums] = {};
  for (int64_t k = 0; k < kRowLanes; k += kSums)
    for (int64_t s = 0; s < kSums; ++s) sums[s] += lane(k + s);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <class T>
class Walk {
 public:
  Walk(const fastloss_overlap& call, const Loss& loss)
      : call_(call),
        loss_(loss),
        ops_(isa().ops<T>()),
        row_ops_(isa().row_ops<T>()),
        overlap_ops_(overlap_ops<T>()),
        images_(call.per_outer ? call.outer : 1),
        layout_(layout_of(call)),
        abreast_(call.classes, call.inner, isa()),
        label_(call.y_true, call.y_true_dtype),
        prediction_(call.y_pred, call.y_pred_dtype),
        kept_labels_(overlap_ops_) {
    if (call.weight && call.weight_count)
      weight_ = {static_cast<const T*>(call.weight), call.weight_count, call.weight_repeat};
    if (const T* const weight = static_cast<const T*>(call.class_weight))
      class_weight_.assign(weight, weight + call.classes);
    for (int32_t i = 0; i < call.fused_term_count; ++i) {
      const fastloss_term& term = call.fused_terms[i];
      fused_terms_.push_back({&term, nullptr, {}, T(0)});
      if (layout_.abreast)
        fused_terms_.back().rows = row_ops_.find(term.loss, term.parameters);
      else
        fused_terms_.back().tile = ops_.find(term.loss, term.parameters).any;
    }
  }

  int forward(T* loss, T* terms, void* gradient) {
    sum(gradient != nullptr);
    finish();
    const double total = reduce(call_.reduction == FASTLOSS_NONE ? loss : nullptr, terms);
    if (call_.reduction != FASTLOSS_NONE) *loss = T(total);
    if (gradient) differentiate(gradient, nullptr);
    return report();
  }

  int backward(const T* upstream, void* gradient) {
    sum(true);
    finish();
    differentiate(gradient, upstream);
    return report();
  }

 private:
  static constexpr int64_t kW = kRowLanes;

  // ---- How the tensor is cut.

  static Layout layout_of(const fastloss_overlap& call) {
    Layout l = {};
    l.abreast = by_position(call);
    const int64_t outer = call.per_outer ? call.outer : 1;
    const int64_t positions = call.outer * call.above * call.inner;
    if (l.abreast) {
      l.segments = outer, l.rows = positions / std::max<int64_t>(1, outer);
      l.columns = call.classes;
    } else if (!by_class(call)) {
      l.segments = outer;
      l.rows = positions * call.classes / std::max<int64_t>(1, outer);
      l.columns = 1;
    } else if (call.inner == 1) {
      l.segments = outer, l.rows = positions / std::max<int64_t>(1, outer);
      l.columns = call.classes;
    } else {
      l.segments = call.outer * call.above * call.classes, l.rows = call.inner, l.columns = 1;
    }
    const int64_t columns = std::max<int64_t>(1, l.columns);
    const int64_t rows_per_period = l.abreast ? kW : kLanes / std::gcd(columns, kLanes);
    l.period = rows_per_period * columns;
    l.sum_period = columns == 1 ? kW : l.period;
    l.rows_per_chunk =
        ceil_div(std::max<int64_t>(1, kPiece / columns), rows_per_period) * rows_per_period;
    l.chunks_per_segment = l.columns ? ceil_div(l.rows, l.rows_per_chunk) : 0;
    l.chunks_per_piece = std::max<int64_t>(
        1, kPiece / std::max<int64_t>(1, std::min(l.rows, l.rows_per_chunk) * columns));
    return l;
  }

  int64_t image_of(int64_t segment) const {
    if (!call_.per_outer) return 0;
    return layout_.segments == images_ ? segment : segment / (layout_.segments / images_);
  }

  // The class of a segment's column; 0 where classes do not matter.
  int64_t class_of(int64_t segment, int64_t column) const {
    return layout_.columns == 1 && layout_.segments != images_ ? segment % call_.classes : column;
  }

  // Of the table of sums: as many columns as there are classes to tell apart.
  int64_t table_columns() const {
    return layout_.columns == 1 && layout_.segments == images_ ? 1 : call_.classes;
  }

  // Calls body(chunk, segment, first row, rows) in parallel.
  template <class Body>
  void each_chunk(bool stream, const Body& body) {
    const int64_t chunks = layout_.chunks(), per_piece = layout_.chunks_per_piece;
    parallel_pieces(
        call_.parallel_for, call_.parallel_context, ceil_div(chunks, per_piece), stream,
        [&](int64_t piece) {
          const int64_t end = std::min(chunks, (piece + 1) * per_piece);
          for (int64_t chunk = piece * per_piece; chunk < end; ++chunk) {
            const int64_t segment = chunk / layout_.chunks_per_segment;
            const int64_t first = chunk % layout_.chunks_per_segment * layout_.rows_per_chunk;
            body(chunk, segment, first, std::min(layout_.rows_per_chunk, layout_.rows - first));
          }
        });
  }

  // ---- The sums.

  struct Buffers {
    T *label, *prediction, *decay, *share, *rows, *gradient, *extra;
    T *sums, *by_intersection, *by_prediction;
  };

  // In memory order: of each prediction, beside the sums.
  bool computes_values() const {
    return call_.activation == FASTLOSS_SIGMOID || !fused_terms_.empty();
  }

  int64_t block_size() const {
    if (layout_.abreast) return layout_.period;
    const int64_t block = computes_values() ? kFullBlock : kBlock;
    return std::max<int64_t>(1, block / layout_.period) * layout_.period;
  }

  template <class Body>
  void with_buffers(const Body& body) const {
    const int64_t size = block_size();
    Scratch scratch((7 * (size + 16) + 5 * (layout_.period + 16)) * int64_t(sizeof(T)));
    Buffers b;
    for (T** buffer : {&b.label, &b.prediction, &b.decay, &b.share, &b.rows, &b.gradient, &b.extra})
      *buffer = scratch.take<T>(size);
    b.sums = scratch.take<T>(3 * layout_.period);
    b.by_intersection = scratch.take<T>(layout_.period);
    b.by_prediction = scratch.take<T>(layout_.period);
    body(b);
  }

  // `again` says that a walk for the gradient follows.
  void sum(bool again) {
    const int64_t columns = layout_.columns, chunks = layout_.chunks();
    const int64_t fused_terms = int64_t(fused_terms_.size());
    std::vector<OverlapSums> partial(chunks * columns, OverlapSums{0, 0, 0});
    std::vector<double> values(chunks * fused_terms);
    std::vector<int64_t> valid(chunks);
    if (again && keeps_labels()) kept_labels_.open(chunks, layout_.rows_per_chunk * columns);
    each_chunk(false, [&](int64_t chunk, int64_t segment, int64_t first, int64_t rows) {
      with_buffers([&](const Buffers& b) {
        // Not in place: what other threads write would be in the same cache line.
        std::vector<OverlapSums> sums(columns, OverlapSums{0, 0, 0});
        std::vector<double> value(fused_terms);
        Collector collector(*this, b, sums.data());
        if (layout_.abreast)
          valid[chunk] = sum_abreast(segment, first, rows, b, value.data(), &collector);
        else
          sum_flat(chunk, segment, first, rows, b, value.data(), &collector);
        collector.flush();
        std::copy(sums.begin(), sums.end(), partial.begin() + chunk * columns);
        std::copy(value.begin(), value.end(), values.begin() + chunk * fused_terms);
      });
    });
    sums_.assign(images_ * table_columns(), OverlapSums{0, 0, 0});
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t segment = chunk / layout_.chunks_per_segment;
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t place =
            image_of(segment) * table_columns() + (table_columns() == 1 ? 0 : class_of(segment, c));
        const OverlapSums& part = partial[chunk * columns + c];
        sums_[place].intersection += part.intersection;
        sums_[place].prediction += part.prediction;
        sums_[place].label += part.label;
      }
    }
    fused_term_sums_.assign(fused_terms, 0.0);
    for (int64_t i = 0; i < chunks * fused_terms; ++i)
      fused_term_sums_[i % fused_terms] += values[i];
    valid_ = std::accumulate(valid.begin(), valid.end(), int64_t(0));
  }

  // The sums of a chunk: short chains of additions in T, then double.
  class Collector {
   public:
    Collector(const Walk& walk, const Buffers& b, OverlapSums* to)
        : walk_(walk), sums_(b.sums), to_(to) {
      clear();
    }
    T* sums() { return sums_; }
    void collect(const T* label, const T* p, int64_t size) {
      const int64_t period = walk_.layout_.sum_period;
      for (int64_t repeats = size / period; repeats;) {
        const int64_t some = std::min(repeats, kAdditions - additions_);
        walk_.overlap_ops_.collect(label, p, period, some, walk_.call_.squared, sums_);
        if (label) label += some * period;
        p += some * period;
        repeats -= some;
        if ((additions_ += some) == kAdditions) flush();
      }
    }
    void flush() {
      const Layout& layout = walk_.layout_;
      const int64_t period = layout.sum_period;
      // How many sums side by side are of one column.
      const int64_t run = layout.abreast || layout.columns == 1 ? kW : 1;
      for (int64_t i = 0, column = 0; i < period; i += run) {
        OverlapSums& to = to_[column];
        to.intersection += joined(sums_ + i, run);
        to.prediction += joined(sums_ + period + i, run);
        to.label += joined(sums_ + 2 * period + i, run);
        if (++column == layout.columns) column = 0;
      }
      clear();
    }

   private:
    static double joined(const T* x, int64_t run) {
      return run == 1 ? double(x[0]) : sum_of_lanes([&](int64_t k) { return double(x[k]); });
    }
    void clear() {
      std::fill(sums_, sums_ + 3 * walk_.layout_.sum_period, T(0));
      additions_ = 0;
    }
    const Walk& walk_;
    T* const sums_;
    OverlapSums* const to_;
    int64_t additions_ = 0;
  };

  // ---- In memory order.

  struct Block {
    const T *label, *prediction, *share, *decay;
    const typename KeptLabels<T>::Word* bits;  // in place of labels that were kept
    int64_t begin, element;                    // the first of them in the chunk, and in the tensor
    int64_t size, padded;                      // elements, and with what fills up a period
  };

  // The second walk finds labels that fit into the caches there.
  bool keeps_labels() const {
    return !layout_.abreast && layout_.elements() * label_.size >= kStreamBytes;
  }

  const T* fetch(const Matrix& matrix, int64_t element, int64_t size, int64_t padded, T pad,
                 T* buffer) const {
    const char* const from = matrix.data + element * matrix.size;
    if (matrix.dtype == dtype_of<T>() && size == padded) return reinterpret_cast<const T*>(from);
    ops_.load(matrix.dtype, from, buffer, size);
    std::fill(buffer + size, buffer + padded, pad);
    return buffer;
  }

  // Labels that the first walk has kept are not read again.
  template <class Body>
  void each_block(int64_t chunk, int64_t segment, int64_t first, int64_t rows, bool again,
                  const Buffers& b, const Body& body) const {
    const int64_t columns = layout_.columns;
    const int64_t begin = (segment * layout_.rows + first) * columns, size = rows * columns;
    const bool kept = again && kept_labels_.kept(chunk);
    for (int64_t done = 0; done < size; done += block_size()) {
      Block block = {};
      block.begin = done;
      block.element = begin + done;
      block.size = std::min(block_size(), size - done);
      block.padded = ceil_div(block.size, layout_.period) * layout_.period;
      if (!kept)
        block.label = fetch(label_, block.element, block.size, block.padded, T(0), b.label);
      else if (fused_terms_.empty())
        block.bits = kept_labels_.words(chunk);
      else
        block.label = kept_labels_.read(chunk, block.begin, block.padded, b.label);
      if (!again || call_.squared || computes_values()) {
        block.prediction =
            fetch(prediction_, block.element, block.size, block.padded, T(0), b.prediction);
        block.share = block.prediction;
      }
      if (call_.activation == FASTLOSS_SIGMOID) {
        overlap_ops_.sigmoid(block.prediction, block.padded, b.decay, b.share);
        block.decay = b.decay;
        std::fill(b.share + block.size, b.share + block.padded, T(0));
        block.share = b.share;
      }
      body(block);
    }
  }

  void sum_flat(int64_t chunk, int64_t segment, int64_t first, int64_t rows, const Buffers& b,
                double* values, Collector* collector) {
    each_block(chunk, segment, first, rows, false, b, [&](const Block& block) {
      collector->collect(block.label, block.share, block.padded);
      kept_labels_.keep(chunk, block.begin, block.label, block.padded);
      for (size_t i = 0; i < fused_terms_.size(); ++i) {
        const auto run = [&](T* value, T* total) {
          fused_terms_[i].tile(fused_terms_[i].term->parameters, block.label, block.prediction,
                               block.decay, nullptr, T(0), value, total, nullptr, false,
                               block.padded);
        };
        values[i] += sum_of_values(ops_, block.size, block.padded, b.extra, run);
      }
    });
  }

  void differentiate_flat(int64_t chunk, int64_t segment, int64_t first, int64_t rows,
                          const Buffers& b, bool stream) const {
    each_block(chunk, segment, first, rows, true, b, [&](const Block& block) {
      char* const to = gradient_ + block.element * prediction_.size;
      const bool direct = !stream && gradient_ != call_.y_pred && block.size == block.padded &&
                          prediction_.dtype == dtype_of<T>();
      T* const gradient = direct ? reinterpret_cast<T*>(to) : b.gradient;
      const int64_t repeats = block.padded / layout_.period;
      if (block.bits)
        overlap_ops_.slopes_of_bits(block.bits, block.begin, block.share, layout_.period, repeats,
                                    b.by_intersection, b.by_prediction, call_.squared, gradient);
      else
        overlap_ops_.slopes(block.label, block.share, layout_.period, repeats, b.by_intersection,
                            b.by_prediction, call_.squared, gradient);
      if (call_.activation == FASTLOSS_SIGMOID)
        overlap_ops_.through_sigmoid(block.share, block.padded, gradient);
      for (const FusedTerm<T>& fused_term : fused_terms_)
        fused_term.tile(fused_term.term->parameters, block.label, block.prediction, block.decay,
                        nullptr, fused_term.scale, nullptr, nullptr, gradient, true, block.padded);
      if (!direct) ops_.store(prediction_.dtype, gradient, to, block.size, stream, nullptr);
    });
  }

  // ---- Abreast.

  struct Positions {
    int64_t first, count;
    int64_t label[kRowLanes];
    bool skipped[kRowLanes];  // ignored, no class, or beyond `count`
    const T* labels;          // null for classes
    RowBlock<T> block;        // for fused_terms
    RowState<T> state;
  };

  void report_bad(int64_t row) {
    int64_t known = bad_row_.load();
    while (row < known && !bad_row_.compare_exchange_weak(known, row)) {
    }
  }

  // Positions whose labels are fetched ahead.
  static constexpr int64_t kAhead = 16 * kW;

  void read_positions(const Buffers& b, Positions* at) {
    std::fill(at->label, at->label + kW, int64_t(0));
    std::fill(at->skipped, at->skipped + kW, false);
    std::fill(at->skipped + at->count, at->skipped + kW, true);
    at->labels = call_.sparse ? nullptr : b.label;
    if (call_.sparse) {
      prefetch<1>(label_.data, (at->first + kAhead) * label_.size, kW * label_.size);
      read_labels(label_.dtype, label_.data, at->first, at->count, at->label);
      for (int64_t k = 0; k < at->count; ++k) {
        const bool ignored = call_.has_ignore_class && at->label[k] == call_.ignore_class;
        const bool is_class = uint64_t(at->label[k]) < uint64_t(call_.classes);
        if (is_class && !ignored) continue;
        at->skipped[k] = true;
        at->label[k] = 0;
        if (!ignored) report_bad(at->first + k);
      }
      return;
    }
    abreast_.load(label_, at->first, at->count, b.rows, b.label);
    if (!call_.has_ignore_class) return;
    for (int64_t k = 0; k < at->count; ++k) {
      bool empty = true;
      for (int64_t c = 0; c < call_.classes; ++c)
        empty &= c == call_.ignore_class || b.label[c * kW + k] == 0;
      at->skipped[k] = empty;
      if (empty)
        for (int64_t c = 0; c < call_.classes; ++c) b.label[c * kW + k] = T(0);
    }
  }

  // Fills in the shares of a block of positions; b.gradient serves for the exponentials.
  void load_positions(const Buffers& b, Positions* at) {
    const int64_t size = call_.classes * kW;
    read_positions(b, at);
    abreast_.load(prediction_, at->first, at->count, b.rows, b.prediction);
    if (call_.activation == FASTLOSS_SIGMOID) {
      overlap_ops_.sigmoid(b.prediction, size, b.decay, b.share);
    } else if (call_.activation == FASTLOSS_SOFTMAX) {
      RowNormalizer<T>& shares = at->state.prediction;
      Lanes<T> sum;
      fill(&sum, T(-0.0));
      fill(&shares.shift, -std::numeric_limits<T>::infinity());
      row_ops_.maxima(b.prediction, size, &shares.shift);
      for (T& shift : shares.shift.lane)
        if (shift == -std::numeric_limits<T>::infinity()) shift = T(0);
      row_ops_.exps(b.prediction, size, shares.shift, true, b.extra, &sum,
                    abreast_.next(prediction_, at->first, b.prediction), 0);
      for (int64_t k = 0; k < kW; ++k) shares.factor.lane[k] = T(1) / sum.lane[k];
      if (!fused_terms_.empty()) row_ops_.log(sum, &shares.log_sum);
      overlap_ops_.softmax(b.extra, size, shares.factor, b.share);
    } else {
      std::copy(b.prediction, b.prediction + size, b.share);
    }
    for (int64_t k = 0; k < kW; ++k)
      if (at->skipped[k])
        for (int64_t c = 0; c < call_.classes; ++c) b.share[c * kW + k] = T(0);
    at->block = {b.label, nullptr, b.prediction, b.extra, size};
  }

  template <class Body>
  void each_positions(int64_t segment, int64_t first, int64_t rows, const Buffers& b,
                      const Body& body) {
    Positions at;
    for (int64_t row = first; row < first + rows; row += kW) {
      at.first = segment * layout_.rows + row;
      at.count = std::min(kW, first + rows - row);
      load_positions(b, &at);
      body(&at);
    }
  }

  // The value and the slope of a fused_term for each position.
  void pick(const FusedTerm<T>& fused_term, const Buffers& b, Positions* at, Lanes<T>* value,
            Lanes<T>* slope) const {
    const RowNormalizer<T>& shares = at->state.prediction;
    Lanes<T> p, z;
    for (int64_t k = 0; k < kW; ++k) {
      const int64_t place = at->label[k] * kW + k;
      p.lane[k] = b.share[place];
      z.lane[k] = (b.prediction[place] - shares.shift.lane[k]) - shares.log_sum.lane[k];
    }
    fused_term.rows.sparse.at_label(fused_term.term->parameters, p, z, value, slope);
    for (int64_t k = 0; k < kW; ++k)
      if (at->skipped[k]) value->lane[k] = slope->lane[k] = T(0);
  }

  void collect_rows(const FusedTerm<T>& fused_term, Positions* at, Lanes<T> (&sums)[3]) const {
    fused_term.rows.dense.identity(sums);
    fused_term.rows.dense.accumulate(fused_term.term->parameters, at->block, at->state, true, sums);
    fused_term.rows.dense.finalize(fused_term.term->parameters, sums);
  }

  int64_t sum_abreast(int64_t segment, int64_t first, int64_t rows, const Buffers& b,
                      double* values, Collector* collector) {
    int64_t valid = 0;
    each_positions(segment, first, rows, b, [&](Positions* at) {
      if (!at->labels) {
        T* const sums = collector->sums();
        for (int64_t k = 0; k < kW; ++k) {
          if (at->skipped[k]) continue;
          const int64_t place = at->label[k] * kW + k;
          sums[place] += b.share[place];
          sums[2 * layout_.period + place] += T(1);
        }
      }
      collector->collect(at->labels, b.share, layout_.period);
      for (int64_t k = 0; k < kW; ++k) valid += !at->skipped[k];
      for (size_t i = 0; i < fused_terms_.size(); ++i) {
        Lanes<T> sums[3];
        if (call_.sparse)
          pick(fused_terms_[i], b, at, &sums[0], &sums[1]);
        else
          collect_rows(fused_terms_[i], at, sums);
        values[i] +=
            sum_of_lanes([&](int64_t k) { return at->skipped[k] ? 0.0 : double(sums[0].lane[k]); });
      }
    });
    return valid;
  }

  void differentiate_abreast(int64_t segment, int64_t first, int64_t rows, const Buffers& b,
                             bool stream) {
    const int64_t size = call_.classes * kW;
    each_positions(segment, first, rows, b, [&](Positions* at) {
      Lanes<T> extra, own;
      fill(&extra, T(0));
      fill(&own, T(0));
      if (call_.sparse)
        for (const FusedTerm<T>& fused_term : fused_terms_) {
          Lanes<T> value, slope;
          pick(fused_term, b, at, &value, &slope);
          for (int64_t k = 0; k < kW; ++k) own.lane[k] += slope.lane[k] * fused_term.scale;
        }
      // Of logits the slope of the label is shared out: what it has, all classes lose by their p.
      for (int64_t k = 0; k < kW; ++k) extra.lane[k] = -own.lane[k];
      T* const gradient = b.gradient;
      overlap_ops_.slopes(at->labels, b.share, size, 1, b.by_intersection, b.by_prediction,
                          call_.squared, gradient);
      if (!at->labels)
        for (int64_t k = 0; k < kW; ++k) {
          const int64_t place = at->label[k] * kW + k;
          gradient[place] += b.by_intersection[place];
        }
      if (call_.activation == FASTLOSS_SIGMOID)
        overlap_ops_.through_sigmoid(b.share, size, gradient);
      else if (call_.activation == FASTLOSS_SOFTMAX)
        overlap_ops_.through_softmax(b.share, size, extra, gradient);
      for (int64_t k = 0; k < kW; ++k) gradient[at->label[k] * kW + k] += own.lane[k];
      if (!call_.sparse)
        for (const FusedTerm<T>& fused_term : fused_terms_) {
          Lanes<T> sums[3];
          collect_rows(fused_term, at, sums);
          at->state.b = sums[1], at->state.c = sums[2];
          fill(&at->state.scale, fused_term.scale);
          fill(&at->state.z_loss_slope, T(0));
          fused_term.rows.dense.gradients(fused_term.term->parameters, at->block, at->state, true,
                                          b.rows);
          overlap_ops_.add(b.rows, size, gradient);
        }
      for (int64_t k = 0; k < at->count; ++k)
        if (at->skipped[k])
          for (int64_t c = 0; c < call_.classes; ++c) gradient[c * kW + k] = T(0);
      abreast_.store(at->first, at->count, gradient, b.rows, prediction_.dtype, gradient_, stream);
    });
  }

  // ---- From sums to losses.

  int64_t first_class() const { return std::min<int64_t>(call_.skip_background, call_.classes); }
  int64_t groups_per_image() const { return call_.per_class ? call_.classes - first_class() : 1; }

  // The loss of each group, and its slopes by the sums of each class.
  void finish() {
    const int64_t columns = table_columns(), first = first_class();
    values_.assign(images_ * groups_per_image(), 0.0);
    points_.assign(images_ * columns, GroupLoss{0, 0, 0});
    for (int64_t image = 0; image < images_; ++image) {
      const OverlapSums* const sums = sums_.data() + image * columns;
      GroupLoss* const points = points_.data() + image * columns;
      double* const value = values_.data() + image * groups_per_image();
      if (loss_.together) {
        *value = loss_.together(call_.parameters, sums + first,
                                class_weight_.empty() ? nullptr : class_weight_.data() + first,
                                columns - first, points + first);
      } else if (call_.per_class) {
        for (int64_t c = first; c < columns; ++c) {
          points[c] = loss_.alone(call_.parameters, sums[c]);
          const double weight = class_weight_.empty() ? 1.0 : class_weight_[c];
          points[c].value *= weight;
          points[c].intersection *= weight;
          points[c].prediction *= weight;
          value[c - first] = points[c].value;
        }
      } else {
        OverlapSums all = {0, 0, 0};
        for (int64_t c = first; c < columns; ++c) {
          all.intersection += sums[c].intersection;
          all.prediction += sums[c].prediction;
          all.label += sums[c].label;
        }
        const GroupLoss point = loss_.alone(call_.parameters, all);
        *value = point.value;
        std::fill(points + first, points + columns, point);
      }
    }
  }

  double group_weight(int64_t group) const {
    return weight_.data ? double(weight_.at(group)) : 1.0;
  }

  double reduction_factor() const {
    if (call_.reduction == FASTLOSS_NONE || call_.reduction == FASTLOSS_SUM) return 1;
    double divisor = double(values_.size());
    if (call_.reduction == FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT && weight_.data) {
      divisor = 0;
      for (int64_t i = 0; i < weight_.count; ++i) divisor += double(weight_.data[i]);
      if (call_.weight_expansion > 1) divisor /= double(call_.weight_expansion);
    }
    return divisor == 0 ? 0 : 1 / (divisor * call_.replicas);
  }

  // What one element or row of a fused_term counts for.
  double fused_term_factor() const {
    const double count = layout_.abreast
                             ? double(valid_)
                             : double(call_.outer * call_.above * call_.classes * call_.inner);
    if (call_.reduction == FASTLOSS_SUM) return 1;
    return count == 0 ? 0 : 1 / (count * call_.replicas);
  }

  // Fills in `losses`, one per group, where it is not null, and the value of each term.
  double reduce(T* losses, T* terms) const {
    double total = 0;
    for (size_t group = 0; group < values_.size(); ++group) {
      const double value = values_[group] * group_weight(int64_t(group));
      if (losses) losses[group] = T(value);
      total += value;
    }
    total *= reduction_factor();
    if (terms) terms[0] = T(total);
    if (!fused_terms_.empty()) total *= call_.factor;
    for (size_t i = 0; i < fused_terms_.size(); ++i) {
      const double value = fused_term_sums_[i] * fused_term_factor();
      if (terms) terms[1 + i] = T(value);
      total += fused_terms_[i].term->factor * value;
    }
    return total;
  }

  // ---- The gradient.

  void differentiate(void* gradient, const T* upstream) {
    gradient_ = static_cast<char*>(gradient);
    const bool each = call_.reduction == FASTLOSS_NONE;
    const double outside = upstream && !each ? double(*upstream) : 1.0;
    const double factor =
        reduction_factor() * outside * (fused_terms_.empty() ? 1.0 : call_.factor);
    const int64_t columns = table_columns(), first = first_class();
    for (int64_t place = 0; place < int64_t(points_.size()); ++place) {
      const int64_t image = place / columns, c = place % columns;
      if (c < first) continue;
      const int64_t group = image * groups_per_image() + (call_.per_class ? c - first : 0);
      double scale = factor * group_weight(group);
      if (upstream && each) scale *= double(upstream[group]);
      points_[place].intersection *= scale;
      points_[place].prediction *= scale;
    }
    for (FusedTerm<T>& fused_term : fused_terms_)
      fused_term.scale = T(fused_term.term->factor * fused_term_factor() * outside);
    const bool stream =
        gradient != call_.y_pred && layout_.elements() * prediction_.size >= kStreamBytes;
    each_chunk(stream, [&](int64_t chunk, int64_t segment, int64_t row, int64_t rows) {
      with_buffers([&](const Buffers& b) {
        const GroupLoss* const points = points_.data() + image_of(segment) * columns;
        for (int64_t i = 0; i < layout_.period; ++i) {
          const int64_t column = layout_.abreast ? i / kW : i % layout_.columns;
          const GroupLoss& point = points[columns == 1 ? 0 : class_of(segment, column)];
          b.by_intersection[i] = T(point.intersection);
          b.by_prediction[i] = T(point.prediction);
        }
        if (layout_.abreast)
          differentiate_abreast(segment, row, rows, b, stream);
        else
          differentiate_flat(chunk, segment, row, rows, b, stream);
      });
    });
  }

  int report() const {
    const int64_t row = bad_row_.load();
    if (row == kNoRow) return 0;
    int64_t label;
    read_labels(label_.dtype, label_.data, row, 1, &label);
    return fail(
        "%s: the label of position %lld is %lld; expected 0 to %lld, as y_pred has %lld classes%s",
        call_.loss, static_cast<long long>(row), static_cast<long long>(label),
        static_cast<long long>(call_.classes - 1), static_cast<long long>(call_.classes),
        call_.has_ignore_class ? ", or ignore_class" : "");
  }

  const fastloss_overlap& call_;
  const Loss& loss_;
  const TileOps<T>& ops_;
  const RowOps<T>& row_ops_;
  const OverlapOps<T>& overlap_ops_;
  const int64_t images_;
  const Layout layout_;
  const InterleavedRows<T> abreast_;
  const Matrix label_, prediction_;
  KeptLabels<T> kept_labels_;
  BroadcastWeights<T> weight_;
  std::vector<double> class_weight_;
  std::vector<FusedTerm<T>> fused_terms_;
  std::vector<OverlapSums> sums_;  // (images, classes)
  std::vector<GroupLoss> points_;  // (images, classes)
  std::vector<double> values_;     // (groups,)
  std::vector<double> fused_term_sums_;
  int64_t valid_ = 0;
  char* gradient_ = nullptr;
  std::atomic<int64_t> bad_row_{kNoRow};
};

}  // namespace
}  // namespace fastloss

int fastloss_overlap_forward(const fastloss_overlap* call, void* loss, void* term_values,
                             void* gradient) {
  using namespace fastloss;
  if (check_overlap_forward(*call, gradient)) return -1;
  const Loss& entry = *find_loss(kLosses, call->loss);
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return Walk<double>(*call, entry)
        .forward(static_cast<double*>(loss), static_cast<double*>(term_values), gradient);
  return Walk<float>(*call, entry)
      .forward(static_cast<float*>(loss), static_cast<float*>(term_values), gradient);
}

int fastloss_overlap_backward(const fastloss_overlap* call, const void* upstream, void* gradient) {
  using namespace fastloss;
  if (check_overlap_backward(*call)) return -1;
  const Loss& entry = *find_loss(kLosses, call->loss);
  if (call->y_pred_dtype == FASTLOSS_FLOAT64)
    return Walk<double>(*call, entry).backward(static_cast<const double*>(upstream), gradient);
  return Walk<float>(*call, entry).backward(static_cast<const float*>(upstream), gradient);
}
