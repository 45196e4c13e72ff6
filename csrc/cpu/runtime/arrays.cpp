// What is done to gradients as a whole.
#include "api/error.h"
#include "api/fastloss.h"
#include "cpu/kernels/isa.h"
#include "cpu/kernels/tile.h"
#include "cpu/runtime/pieces.h"

namespace fastloss {
namespace {

template <class T>
void scale(int32_t dtype, int64_t count, const char* gradient, T upstream, char* scaled,
           fastloss_parallel_for parallel_for, void* context) {
  const TileOps<T>& ops = isa().ops<T>();
  const int64_t size = dtype_size(dtype);
  const bool stream = scaled != gradient && count * size >= kStreamBytes;
  parallel_pieces(parallel_for, context, ceil_div(count, kPiece), stream, [&](int64_t piece) {
    alignas(64) T tile[kTile];
    const int64_t end = std::min(count, (piece + 1) * kPiece);
    for (int64_t i = piece * kPiece; i < end; i += kTile) {
      const int64_t n = std::min(kTile, end - i);
      ops.load(dtype, gradient + i * size, tile, n);
      ops.scale(upstream, tile, tile, n);
      ops.store(dtype, tile, scaled + i * size, n, stream, nullptr);
    }
  });
}

template <class T>
void accumulate(int32_t dtype, int64_t count, const char* part, T* total,
                fastloss_parallel_for parallel_for, void* context) {
  const TileOps<T>& ops = isa().ops<T>();
  parallel_pieces(parallel_for, context, ceil_div(count, kPiece), false, [&](int64_t piece) {
    alignas(64) T tile[kTile];
    const int64_t end = std::min(count, (piece + 1) * kPiece);
    for (int64_t i = piece * kPiece; i < end; i += kTile) {
      const int64_t n = std::min(kTile, end - i);
      ops.load(dtype, part + i * dtype_size(dtype), tile, n);
      for (int64_t k = 0; k < n; ++k) total[i + k] += tile[k];
    }
  });
}

}  // namespace
}  // namespace fastloss

int fastloss_scale(int32_t dtype, int64_t count, const void* gradient, const void* upstream,
                   void* scaled, fastloss_parallel_for parallel_for, void* context) {
  using namespace fastloss;
  const char* from = static_cast<const char*>(gradient);
  char* to = static_cast<char*>(scaled);
  if (count < 0) return fail("count is %lld; expected none or more", static_cast<long long>(count));
  if (dtype == FASTLOSS_FLOAT64)
    scale<double>(dtype, count, from, *static_cast<const double*>(upstream), to, parallel_for,
                  context);
  else if (dtype == FASTLOSS_FLOAT32 || dtype == FASTLOSS_FLOAT16 || dtype == FASTLOSS_BFLOAT16)
    scale<float>(dtype, count, from, *static_cast<const float*>(upstream), to, parallel_for,
                 context);
  else
    return fail("dtype code %d cannot be scaled; expected a float", dtype);
  return 0;
}

int fastloss_accumulate(int32_t dtype, int64_t count, const void* part, void* total,
                        fastloss_parallel_for parallel_for, void* context) {
  using namespace fastloss;
  const char* from = static_cast<const char*>(part);
  if (count < 0) return fail("count is %lld; expected none or more", static_cast<long long>(count));
  if (!is_prediction_dtype(dtype))
    return fail("dtype code %d cannot be accumulated; expected a float", dtype);
  if (dtype == FASTLOSS_FLOAT64)
    accumulate(dtype, count, from, static_cast<double*>(total), parallel_for, context);
  else
    accumulate(dtype, count, from, static_cast<float*>(total), parallel_for, context);
  return 0;
}

int fastloss_copy(int64_t bytes, const void* from, void* to, fastloss_parallel_for parallel_for,
                  void* context) {
  using namespace fastloss;
  constexpr int64_t kBytes = kPiece * int64_t(sizeof(float));
  const auto copy = isa().f32.copy;
  if (bytes <= 0) return 0;
  const bool stream = bytes >= kStreamBytes;
  parallel_pieces(parallel_for, context, ceil_div(bytes, kBytes), stream, [&](int64_t piece) {
    const int64_t begin = piece * kBytes, n = std::min(kBytes, bytes - begin);
    copy(static_cast<const char*>(from) + begin, static_cast<char*>(to) + begin, n, stream,
         nullptr);
  });
  return 0;
}
