// Arithmetic over a tile, and the table of all kernels of an instruction set.
#include "cpu/kernels/tile.h"

#include "cpu/kernels/convert.h"
#include "cpu/kernels/elementwise.h"
#include "cpu/kernels/isa.h"
#include "cpu/kernels/running_sums.h"
#include "cpu/kernels/store.h"

namespace fastloss {
namespace FASTLOSS_ISA {
namespace {

template <class T>
void multiply(const T* __restrict factor, T* __restrict in_out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) in_out[i] *= factor[i];
}

template <class T>
T sum(const T* x, int64_t count) {
  T total = 0;
  int64_t i = 0;
  if (count >= kSums) {
    RunningSums<T> sums;
    for (; i + kSums <= count; i += kSums) sums.add(x + i);
    total = sums.total();
  }
  for (; i < count; ++i) total += x[i];
  return total;
}

template <class T>
void row_sums(const T* x, int64_t rows, int64_t columns, T factor, T* out) {
  if (columns == 1) return scale(factor, x, out, rows);
  for (int64_t row = 0; row < rows; ++row) out[row] = factor * sum(x + row * columns, columns);
}

template <class T>
bool binary(const T* x, int64_t count) {
  int others = 0;
  for (int64_t i = 0; i < count; ++i) others |= !(x[i] == T(0) || x[i] == T(1));
  return !others;
}

template <class T>
constexpr TileOps<T> kOps = {
    find_elementwise<T>, load<T>,  store<T>, store_scaled<T>, copy,     close,
    multiply<T>,         scale<T>, sum<T>,   row_sums<T>,     binary<T>};

}  // namespace

bool scalar_probe(const char* function, bool is_double, const void* x, const void* y, void* out,
                  long long count);

extern const RowOps<float> kRowOpsFloat;
extern const RowOps<double> kRowOpsDouble;
extern const OverlapOps<float> kOverlapOpsFloat;
extern const OverlapOps<double> kOverlapOpsDouble;
extern const BoxOps<float> kBoxOpsFloat;
extern const BoxOps<double> kBoxOpsDouble;
extern const Isa kIsa;
#define FASTLOSS_TEXT_(x) #x
#define FASTLOSS_TEXT(x) FASTLOSS_TEXT_(x)
const Isa kIsa = {
    FASTLOSS_TEXT(FASTLOSS_ISA), kOps<float>,        kOps<double>,  &kRowOpsFloat,  &kRowOpsDouble,
    &kOverlapOpsFloat,           &kOverlapOpsDouble, &kBoxOpsFloat, &kBoxOpsDouble, scalar_probe};

}  // namespace FASTLOSS_ISA
}  // namespace fastloss
