#include "cpu/rowwise/ignored_rows.h"

#include <numeric>

#include "cpu/runtime/labels.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {

template <class T>
IgnoredRows<T>::IgnoredRows(const RowwisePlan<T>& plan) : plan_(plan) {
  const fastloss_rowwise& call = plan.call;
  if (!call.has_ignore_class || plan.sparse || !plan.rows) return;
  dense_.resize(plan.rows);
  const int64_t per_piece = plan.rows_per_piece();
  parallel(call.parallel_for, call.parallel_context, ceil_div(plan.rows, per_piece),
           [&](int64_t piece) {
             const int64_t end = std::min(plan.rows, (piece + 1) * per_piece);
             for (int64_t row = piece * per_piece; row < end; ++row)
               dense_[row] = is_zero_elsewhere(row);
           });
}

template <class T>
bool IgnoredRows<T>::is_zero_elsewhere(int64_t row) const {
  const fastloss_rowwise& call = plan_.call;
  const Matrix& label = plan_.label;
  const int64_t offset = row / call.inner * call.classes * call.inner + row % call.inner;
  const int64_t step = call.inner == 1 ? kRowLanes : 1;
  alignas(64) T some[kRowLanes];
  for (int64_t begin = 0; begin < call.classes; begin += step) {
    const int64_t n = std::min(step, call.classes - begin);
    plan_.ops.load(label.dtype, label.data + (offset + begin * call.inner) * label.size, some, n);
    for (int64_t k = 0; k < n; ++k)
      if (some[k] != 0 && begin + k != call.ignore_class) return false;
  }
  return true;
}

template <class T>
void IgnoredRows<T>::read(int64_t first, int64_t count, bool* ignored) const {
  if (!plan_.call.has_ignore_class) {
    std::fill(ignored, ignored + count, false);
  } else if (plan_.sparse) {
    int64_t labels[kRowLanes];
    read_labels(plan_.label.dtype, plan_.label.data, first, count, labels);
    for (int64_t k = 0; k < count; ++k) ignored[k] = labels[k] == plan_.call.ignore_class;
  } else {
    std::copy_n(dense_.data() + first, count, ignored);
  }
}

template <class T>
int64_t IgnoredRows<T>::count_others() const {
  const int64_t pieces = ceil_div(plan_.rows, kPiece);
  std::vector<int64_t> counts(pieces);
  parallel_pieces(plan_.call.parallel_for, plan_.call.parallel_context, pieces, false,
                  [&](int64_t piece) {
                    const int64_t end = std::min(plan_.rows, (piece + 1) * kPiece);
                    bool ignored[kRowLanes];
                    int64_t others = 0;
                    for (int64_t first = piece * kPiece; first < end; first += kRowLanes) {
                      const int64_t n = std::min<int64_t>(kRowLanes, end - first);
                      read(first, n, ignored);
                      others += n - std::accumulate(ignored, ignored + n, int64_t(0));
                    }
                    counts[piece] = others;
                  });
  return std::accumulate(counts.begin(), counts.end(), int64_t(0));
}

// By one thread, as a sum of floats is only the same in the same order.
template <class T>
double IgnoredRows<T>::weight_of_others() const {
  double sum = 0;
  for (int64_t first = 0; first < plan_.rows; first += kRowLanes) {
    const int64_t n = std::min<int64_t>(kRowLanes, plan_.rows - first);
    bool ignored[kRowLanes];
    read(first, n, ignored);
    plan_.weight.visit(first, n,
                       [&](int64_t k, T weight) { sum += ignored[k] ? 0.0 : double(weight); });
  }
  return sum;
}

template class IgnoredRows<float>;
template class IgnoredRows<double>;

}  // namespace fastloss
