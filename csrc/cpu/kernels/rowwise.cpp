// Compiled once per instruction set, under the rules of tile.cpp.
#include "cpu/kernels/rowwise.h"

#include "cpu/kernels/tile.h"
#include "cpu/kernels/vector.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

constexpr int64_t kWidth = kRowLanes;
// Sums of so many numbers are added to those before: a long row is not one long chain of additions.
constexpr int64_t kSteps = 64 * kWidth;

bool same(const char* x, const char* y) {
  while (*x && *x == *y) ++x, ++y;
  return *x == *y;
}

// Nothing yet. Of +0 the compiler would make a call or a slow string store, and -0 adds nothing.
template <class T>
FASTLOSS_INLINE void clear(Lanes<T>* lanes) {
  for (int64_t k = 0; k < kWidth; ++k) lanes->lane[k] = T(-0.0);
}

template <bool kInterleaved, class T>
FASTLOSS_INLINE T at(const Lanes<T>& lanes, int64_t k) {
  return lanes.lane[kInterleaved ? k : 0];
}

template <Normalization kRow, bool kInterleaved, class Part, class T>
FASTLOSS_INLINE ClassProbability<T> share(const Part& part, T x, const T* exps,
                                          const RowNormalizer<T>& row, int64_t i, int64_t k) {
  if constexpr (kRow == Normalization::softmax)
    return {exps[i] * at<kInterleaved>(row.factor, k),
            (x - at<kInterleaved>(row.shift, k)) - at<kInterleaved>(row.log_sum, k)};
  else if constexpr (kRow == Normalization::sum)
    return {part(x) * at<kInterleaved>(row.factor, k), x};
  else
    return {x, x};
}

template <class Loss, bool kInterleaved, class T>
struct Classes {
  const Loss& loss;
  const T* __restrict label, * __restrict label_exps, * __restrict prediction, * __restrict exps;
  Classes(const Loss& loss, const RowBlock<T>& block)
      : loss(loss),
        label(block.label),
        label_exps(block.label_exps),
        prediction(block.prediction),
        exps(block.prediction_exps) {}
  FASTLOSS_INLINE ClassProbability<T> y(const RowState<T>& row, int64_t i, int64_t k) const {
    const auto same = [](T x) { return x; };
    return share<Loss::kLabel, kInterleaved>(same, label[i], label_exps, row.label, i, k);
  }
  FASTLOSS_INLINE ClassProbability<T> x(const RowState<T>& row, int64_t i, int64_t k) const {
    const auto part = [this](T x) { return loss.clipped(x); };
    return share<Loss::kPrediction, kInterleaved>(part, prediction[i], exps, row.prediction, i, k);
  }
};

template <class Loss, class T>
void none(Lanes<T>* sums) {
  for (int64_t k = 0; k < kWidth; ++k) {
    const Sums<T> start = Loss::identity();
    sums[0].lane[k] = start.a, sums[1].lane[k] = start.b, sums[2].lane[k] = start.c;
  }
}

template <class Loss, class T>
FASTLOSS_INLINE void join_into(Lanes<T>* to, int64_t k, const Lanes<T>* from, int64_t j) {
  const Sums<T> sum = Loss::combine({to[0].lane[k], to[1].lane[k], to[2].lane[k]},
                                    {from[0].lane[j], from[1].lane[j], from[2].lane[j]});
  to[0].lane[k] = sum.a, to[1].lane[k] = sum.b, to[2].lane[k] = sum.c;
}

template <class Loss, bool kInterleaved, class T>
void collect_lanes(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                   Lanes<T>* sums) {
  const Loss loss(parameters);
  const Classes<Loss, kInterleaved, T> classes(loss, block);
  for (int64_t begin = 0; begin < block.size; begin += kSteps) {
    const int64_t end = begin + kSteps < block.size ? begin + kSteps : block.size;
    Lanes<T> some[3];
    none<Loss, T>(some);
    for (int64_t i = begin; i < end; i += kWidth) {
      // A loop of its own: joined at once, the sums would keep the terms from being vectorised.
      Lanes<T> terms[3];
      for (int64_t k = 0; k < kWidth; ++k) {
        const Sums<T> term = loss.accumulate(classes.y(row, i + k, k), classes.x(row, i + k, k));
        terms[0].lane[k] = term.a, terms[1].lane[k] = term.b, terms[2].lane[k] = term.c;
      }
      for (int64_t k = 0; k < kWidth; ++k) join_into<Loss, T>(some, k, terms, k);
    }
    for (int64_t k = 0; k < kWidth; ++k) join_into<Loss, T>(sums, k, some, k);
  }
}

template <class Loss, class T>
void collect(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
             bool interleaved, Lanes<T>* sums) {
  interleaved ? collect_lanes<Loss, true, T>(parameters, block, row, sums)
              : collect_lanes<Loss, false, T>(parameters, block, row, sums);
}

template <class Loss, class T>
void join(Lanes<T>* sums) {
  for (int64_t width = kWidth / 2; width > 0; width /= 2)
    for (int64_t k = 0; k < width; ++k) join_into<Loss, T>(sums, k, sums, k + width);
}

template <class Loss, class T>
void join_two(const T* x, T* sum) {
  const Sums<T> joined = Loss::combine({sum[0], sum[1], sum[2]}, {x[0], x[1], x[2]});
  sum[0] = joined.a, sum[1] = joined.b, sum[2] = joined.c;
}

template <class Loss, class T>
void finish(const double* parameters, Lanes<T>* sums) {
  const Loss loss(parameters);
  for (int64_t k = 0; k < kWidth; ++k) {
    const Sums<T> row = loss.finalize({sums[0].lane[k], sums[1].lane[k], sums[2].lane[k]});
    sums[0].lane[k] = row.a, sums[1].lane[k] = row.b, sums[2].lane[k] = row.c;
  }
}

template <class Loss, bool kInterleaved, class T>
void slope_lanes(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                 T* __restrict gradient) {
  const Loss loss(parameters);
  const Classes<Loss, kInterleaved, T> classes(loss, block);
  for (int64_t i = 0; i < block.size; i += kWidth) {
    for (int64_t k = 0; k < kWidth; ++k) {
      const ClassProbability<T> x = classes.x(row, i + k, k);
      const Sums<T> sums = {T(0), at<kInterleaved>(row.b, k), at<kInterleaved>(row.c, k)};
      T slope = loss.gradient(classes.y(row, i + k, k), x, sums);
      if constexpr (Loss::kPrediction == Normalization::softmax)
        slope += at<kInterleaved>(row.z_loss_slope, k) * x.p;
      gradient[i + k] = slope * at<kInterleaved>(row.scale, k);
    }
  }
}

template <class Loss, class T>
void dense_slopes(const double* parameters, const RowBlock<T>& block, const RowState<T>& row,
                  bool interleaved, T* gradient) {
  interleaved ? slope_lanes<Loss, true, T>(parameters, block, row, gradient)
              : slope_lanes<Loss, false, T>(parameters, block, row, gradient);
}

template <class Loss, class T>
void pick(const double* parameters, const Lanes<T>& p, const Lanes<T>& z, Lanes<T>* value,
          Lanes<T>* slope) {
  const Loss loss(parameters);
  for (int64_t k = 0; k < kWidth; ++k) {
    const Point<T> point = loss.at_label({p.lane[k], z.lane[k]});
    value->lane[k] = point.value;
    slope->lane[k] = point.slope;
  }
}

template <class Loss, bool kInterleaved, class T>
void sparse_slope_lanes(const double* parameters, const RowBlock<T>& block, const Lanes<T>& scale,
                        T* __restrict gradient) {
  const Loss loss(parameters);
  const T* __restrict prediction = block.prediction;
  const T* __restrict exps = block.prediction_exps;
  for (int64_t i = 0; i < block.size; i += kWidth) {
    for (int64_t k = 0; k < kWidth; ++k) {
      const T factor = at<kInterleaved>(scale, k);
      if constexpr (Loss::kPrediction == Normalization::softmax) {
        gradient[i + k] = exps[i + k] * factor;
      } else if constexpr (Loss::kPrediction == Normalization::sum) {
        const T x = prediction[i + k];
        gradient[i + k] = loss.clipped(x) == x ? factor : T(0) * factor;
      } else {
        gradient[i + k] = T(0);
      }
    }
  }
}

template <class Loss, class T>
void sparse_slopes(const double* parameters, const RowBlock<T>& block, const Lanes<T>& scale,
                   bool interleaved, T* gradient) {
  interleaved ? sparse_slope_lanes<Loss, true, T>(parameters, block, scale, gradient)
              : sparse_slope_lanes<Loss, false, T>(parameters, block, scale, gradient);
}

template <class Loss, class T>
void parts(const double* parameters, const T* __restrict x, int64_t size, Lanes<T>* sum) {
  const Loss loss(parameters);
  for (int64_t begin = 0; begin < size; begin += kSteps) {
    const int64_t end = begin + kSteps < size ? begin + kSteps : size;
    Lanes<T> some;
    clear(&some);
    for (int64_t i = begin; i < end; i += kWidth)
      for (int64_t k = 0; k < kWidth; ++k) some.lane[k] += loss.clipped(x[i + k]);
    for (int64_t k = 0; k < kWidth; ++k) sum->lane[k] += some.lane[k];
  }
}

template <class Loss, class T>
bool inside(const double* parameters, T x) {
  return Loss(parameters).clipped(x) == x;
}

template <class Loss, class T>
DenseLoops<T> dense_loops() {
  if constexpr (__is_same(Loss, void))
    return {};
  else
    return {Loss::pad_label(), Loss::pad_prediction(), none<Loss, T>,   collect<Loss, T>,
            join<Loss, T>,     join_two<Loss, T>,      finish<Loss, T>, dense_slopes<Loss, T>};
}

template <class T>
RowLoops<T> loops_of(Normalization prediction, Normalization label) {
  RowLoops<T> loops = {};
  loops.prediction = prediction;
  loops.label = label;
  return loops;
}

template <class Loss, class T>
RowLoops<T> dense() {
  RowLoops<T> loops = loops_of<T>(Loss::kPrediction, Loss::kLabel);
  loops.dense = dense_loops<Loss, T>();
  loops.sum_clipped = parts<Loss, T>;
  loops.unclipped = inside<Loss, T>;
  return loops;
}

// A row's own loop, where it has one: the hinge looks at all classes whatever the label.
template <class Loss, class T, class = void>
struct Picks {
  static SparseLoops<T> loops() { return {}; }
};
template <class Loss, class T>
struct Picks<Loss, T, decltype(void(&Loss::at_label))> {
  static SparseLoops<T> loops() { return {pick<Loss, T>, sparse_slopes<Loss, T>}; }
};

template <class Loss, class T>
RowLoops<T> sparse() {
  RowLoops<T> loops = loops_of<T>(Loss::kPrediction, Loss::kLabel);
  loops.dense = dense_loops<typename Loss::Dense, T>();
  // What fills up a row does not depend on how its label is written.
  loops.dense.pad_prediction = Loss::pad_prediction();
  loops.sparse = Picks<Loss, T>::loops();
  loops.sum_clipped = parts<Loss, T>;
  loops.unclipped = inside<Loss, T>;
  return loops;
}

template <class Loss, class T>
auto dense_for(const double* parameters, int) -> decltype(dense<typename Loss::GammaTwo, T>()) {
  return parameters[1] == 2 ? dense<typename Loss::GammaTwo, T>() : dense<Loss, T>();
}
template <class Loss, class T>
RowLoops<T> dense_for(const double*, long) {
  return dense<Loss, T>();
}

template <class T>
RowLoops<T> find(const char* loss, const double* parameters) {
#define FASTLOSS_FIND_dense(NAME) dense_for<NAME<T>, T>(parameters, 0)
#define FASTLOSS_FIND_sparse(NAME) sparse<NAME<T>, T>()
#define FASTLOSS_FIND(NAME, LABELS, ...) \
  if (same(loss, #NAME)) return FASTLOSS_FIND_##LABELS(NAME);
  FASTLOSS_ROWWISE_LOSSES(FASTLOSS_FIND)
#undef FASTLOSS_FIND
  (void)parameters;
  return {};
}

template <class T>
void maxima(const T* __restrict x, int64_t size, Lanes<T>* maximum) {
  Lanes<T> best;
  for (int64_t k = 0; k < kWidth; ++k) best.lane[k] = maximum->lane[k];
  for (int64_t i = 0; i < size; i += kWidth)
    for (int64_t k = 0; k < kWidth; ++k)
      best.lane[k] = x[i + k] > best.lane[k] ? x[i + k] : best.lane[k];
  for (int64_t k = 0; k < kWidth; ++k) maximum->lane[k] = best.lane[k];
}

template <bool kInterleaved, class T>
void first_reaching_lanes(const T* __restrict x, int64_t size, const Lanes<T>& bound,
                          int32_t* __restrict places) {
  for (int64_t k = 0; k < kWidth; ++k) places[k] = int32_t(size / kWidth);
  for (int64_t i = size; (i -= kWidth) >= 0;)
    for (int64_t k = 0; k < kWidth; ++k)
      places[k] = x[i + k] >= at<kInterleaved>(bound, k) ? int32_t(i / kWidth) : places[k];
}

template <class T>
void first_reaching(const T* x, int64_t size, const Lanes<T>& bound, bool interleaved,
                    int32_t* places) {
  interleaved ? first_reaching_lanes<true>(x, size, bound, places)
              : first_reaching_lanes<false>(x, size, bound, places);
}

// Into the first cache what is needed next, and into the second what is needed after that: from
// memory more lines must be on their way than the first one can wait for.
FASTLOSS_INLINE void fetch(uintptr_t line) {
  constexpr uintptr_t kFar = 8192;
  __builtin_prefetch(reinterpret_cast<const void*>(line));
  __builtin_prefetch(reinterpret_cast<const void*>(line + kFar), 0, 2);
}

template <bool kInterleaved, class T>
void exp_lanes(const T* __restrict x, int64_t size, const Lanes<T>& reference, T* __restrict exps,
               Lanes<T>* sum, uintptr_t ahead, uintptr_t beside) {
  constexpr int64_t kLine = 64;
  for (int64_t begin = 0; begin < size; begin += kSteps) {
    const int64_t end = begin + kSteps < size ? begin + kSteps : size;
    Lanes<T> some;
    clear(&some);
    for (int64_t i = begin; i < end; i += kWidth) {
      for (int64_t line = 0; line < kWidth * int64_t(sizeof(T)); line += kLine)
        fetch(ahead + uintptr_t(i * int64_t(sizeof(T)) + line));
      if (beside)
        for (int64_t line = 0; line < kWidth * int64_t(sizeof(T)); line += kLine)
          __builtin_prefetch(
              reinterpret_cast<const void*>(beside + uintptr_t(i * int64_t(sizeof(T)) + line)));
      for (int64_t k = 0; k < kWidth; ++k) {
        const T e = detail::exp_flushed(x[i + k] - at<kInterleaved>(reference, k));
        exps[i + k] = e;
        some.lane[k] += e;
      }
    }
    for (int64_t k = 0; k < kWidth; ++k) sum->lane[k] += some.lane[k];
  }
}

template <class T>
void exps(const T* x, int64_t size, const Lanes<T>& reference, bool interleaved, T* out,
          Lanes<T>* sum, uintptr_t ahead, uintptr_t beside) {
  interleaved ? exp_lanes<true>(x, size, reference, out, sum, ahead, beside)
              : exp_lanes<false>(x, size, reference, out, sum, ahead, beside);
}

template <class T>
void log_lanes(const Lanes<T>& x, Lanes<T>* out) {
  for (int64_t k = 0; k < kWidth; ++k) out->lane[k] = log(x.lane[k]);
}

// By halves, which vectorise.
template <int kCount, class T, class Join>
FASTLOSS_INLINE T fold(const T* x, const Join& join) {
  if constexpr (kCount == 1) {
    return x[0];
  } else {
    constexpr int kHalf = kCount / 2;
    alignas(64) T half[kHalf];
    for (int k = 0; k < kHalf; ++k) half[k] = join(x[k], x[k + kHalf]);
    return fold<kHalf>(half, join);
  }
}

template <class T>
T sum(const Lanes<T>& x) {
  return fold<kRowLanes>(x.lane, [](T a, T b) { return a + b; });
}

template <class T>
T maximum(const Lanes<T>& x) {
  return fold<kRowLanes>(x.lane, [](T a, T b) { return a > b ? a : b; });
}

template <class T>
void scale_logits(const T* x, int64_t size, T cap, T factor, T* __restrict z, T* __restrict slope) {
  if (cap == 0) {
    for (int64_t i = 0; i < (size & -kWidth); ++i) z[i] = x[i] * factor;
    return;
  }
  const T inverse = T(1) / cap, height = cap * factor;
  for (int64_t i = 0; i < (size & -kWidth); ++i) z[i] = tanh(x[i] * inverse);
  if (slope)
    for (int64_t i = 0; i < (size & -kWidth); ++i) slope[i] = (T(1) - z[i]) * (T(1) + z[i]);
  for (int64_t i = 0; i < (size & -kWidth); ++i) z[i] *= height;
}

template <class T>
void smooth(T* __restrict label, int64_t size, T keep, T shift, const T* __restrict weight,
            bool interleaved) {
  if (!weight) {
    for (int64_t i = 0; i < (size & -kWidth); ++i) label[i] = keep * label[i] + shift;
  } else if (interleaved) {
    for (int64_t i = 0; i < size; i += kWidth)
      for (int64_t k = 0; k < kWidth; ++k)
        label[i + k] = weight[i / kWidth] * (keep * label[i + k] + shift);
  } else {
    for (int64_t i = 0; i < (size & -kWidth); ++i) label[i] = weight[i] * (keep * label[i] + shift);
  }
}

// By small squares, which stay in registers.
template <class T>
struct Square {
  static constexpr int64_t kSide = 16 / int64_t(sizeof(T));
  typedef T Vector __attribute__((vector_size(16)));
  typedef T Unaligned __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));
  static FASTLOSS_INLINE void move(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
    const auto load = [&](int64_t i) {
      return Vector(*reinterpret_cast<const Unaligned*>(from + i * from_stride));
    };
    const auto store = [&](int64_t i, Vector x) {
      *reinterpret_cast<Unaligned*>(to + i * to_stride) = x;
    };
    if constexpr (kSide == 4) {
      const Vector a = load(0), b = load(1), c = load(2), d = load(3);
      const Vector ab_low = FASTLOSS_SHUFFLE(a, b, 0, 4, 1, 5);
      const Vector ab_high = FASTLOSS_SHUFFLE(a, b, 2, 6, 3, 7);
      const Vector cd_low = FASTLOSS_SHUFFLE(c, d, 0, 4, 1, 5);
      const Vector cd_high = FASTLOSS_SHUFFLE(c, d, 2, 6, 3, 7);
      store(0, FASTLOSS_SHUFFLE(ab_low, cd_low, 0, 1, 4, 5));
      store(1, FASTLOSS_SHUFFLE(ab_low, cd_low, 2, 3, 6, 7));
      store(2, FASTLOSS_SHUFFLE(ab_high, cd_high, 0, 1, 4, 5));
      store(3, FASTLOSS_SHUFFLE(ab_high, cd_high, 2, 3, 6, 7));
    } else {
      const Vector a = load(0), b = load(1);
      store(0, FASTLOSS_SHUFFLE(a, b, 0, 2));
      store(1, FASTLOSS_SHUFFLE(a, b, 1, 3));
    }
  }
};

// to[c][r] = from[r][c]
template <class T>
FASTLOSS_INLINE void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns,
                               T* to, int64_t to_stride) {
  constexpr int64_t kSide = Square<T>::kSide;
  const int64_t whole_rows = rows / kSide * kSide, whole_columns = columns / kSide * kSide;
  for (int64_t r = 0; r < whole_rows; r += kSide) {
    for (int64_t c = 0; c < whole_columns; c += kSide)
      Square<T>::move(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    for (int64_t c = whole_columns; c < columns; ++c)
      for (int64_t k = r; k < r + kSide; ++k) to[c * to_stride + k] = from[k * from_stride + c];
  }
  for (int64_t r = whole_rows; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
}

template <class T>
void interleave(const T* rows, int64_t count, int64_t classes, T* lanes) {
  if (count < kWidth)
    for (int64_t i = 0; i < classes * kWidth; ++i) lanes[i] = T(0);
  transpose(rows, classes, count, classes, lanes, kWidth);
}

template <class T>
void deinterleave(const T* lanes, int64_t count, int64_t classes, T* rows) {
  transpose(lanes, kWidth, classes, count, rows, classes);
}

}  // namespace

extern const RowOps<float> kRowOpsFloat;
extern const RowOps<double> kRowOpsDouble;
template <class T>
constexpr RowOps<T> row_ops() {
  return {find<T>,    maxima<T>,       first_reaching<T>, exps<T>,       log_lanes<T>,   sum<T>,
          maximum<T>, scale_logits<T>, smooth<T>,         interleave<T>, deinterleave<T>};
}
const RowOps<float> kRowOpsFloat = row_ops<float>();
const RowOps<double> kRowOpsDouble = row_ops<double>();

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
