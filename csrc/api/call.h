// What every call holds, on any device: dtypes, sizes, weights, and losses by name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>

#include "api/error.h"
#include "api/fastloss.h"

namespace fastloss {

constexpr int kMaxParameters = 8;

inline int64_t ceil_div(int64_t x, int64_t y) { return (x + y - 1) / y; }

// 0 for a dtype that is not a boolean, an integer or a float.
inline int64_t dtype_size(int32_t dtype) {
  switch (dtype) {
    case FASTLOSS_INT8:
    case FASTLOSS_UINT8:
    case FASTLOSS_BOOL:
      return 1;
    case FASTLOSS_INT16:
    case FASTLOSS_UINT16:
    case FASTLOSS_FLOAT16:
    case FASTLOSS_BFLOAT16:
      return 2;
    case FASTLOSS_INT32:
    case FASTLOSS_UINT32:
    case FASTLOSS_FLOAT32:
      return 4;
    case FASTLOSS_INT64:
    case FASTLOSS_UINT64:
    case FASTLOSS_FLOAT64:
      return 8;
  }
  return 0;
}

inline bool is_prediction_dtype(int32_t dtype) {
  return dtype == FASTLOSS_FLOAT16 || dtype == FASTLOSS_BFLOAT16 || dtype == FASTLOSS_FLOAT32 ||
         dtype == FASTLOSS_FLOAT64;
}

// A table of losses, made from the list at the end of their file.
struct LossEntry {
  const char* name;
  const char* parameters;  // "alpha, gamma"
  constexpr int parameter_count() const {
    int count = *parameters != 0;
    for (const char* c = parameters; *c; ++c) count += *c == ',';
    return count;
  }
};

template <class Entry, size_t kCount>
constexpr bool parameters_fit(const Entry (&losses)[kCount]) {
  for (const Entry& loss : losses)
    if (loss.parameter_count() > kMaxParameters) return false;
  return true;
}

template <class Entry, size_t kCount>
const Entry* find_loss(const Entry (&losses)[kCount], const char* name) {
  for (const Entry& loss : losses)
    if (!std::strcmp(loss.name, name)) return &loss;
  return nullptr;
}

// "huber(delta)"
std::string signature_of(const LossEntry& loss);

template <class Entry, size_t kCount>
std::string signatures_of(const Entry (&losses)[kCount]) {
  std::string text;
  for (const Entry& loss : losses) text += (text.empty() ? "" : " ") + signature_of(loss);
  return text;
}

// 0, or -1 with the reason.
int check_parameter_count(const LossEntry& loss, int32_t parameter_count);

// Whether a table has a loss with so many parameters: 0, or -1 with the reason.
template <class Entry, size_t kCount>
int check_loss(const Entry (&losses)[kCount], const char* kind, const char* name,
               int32_t parameter_count) {
  if (const Entry* const loss = find_loss(losses, name))
    return check_parameter_count(*loss, parameter_count);
  return fail("loss '%s' is unknown; the %s are: %s", name, kind, signatures_of(losses).c_str());
}

struct Size {
  const char* name;
  int64_t value;
};

// The product of sizes, or -1 with the reason where one is negative or an array of all of them has
// more elements than can be counted. That array may be empty: a product of some of its sizes is
// computed all the same.
int64_t checked_product(std::initializer_list<Size> sizes);

// 0, or -1 with the reason.
int check_codes(int32_t y_true_dtype, int32_t y_pred_dtype, int32_t reduction);
int check_replicas(int32_t replicas);
int check_weights(int64_t count, int64_t repeat, int64_t losses);

// What the calls of all patterns have, beside their losses: 0, or -1 with the reason. There are
// `losses` numbers to reduce.
template <class Call>
int check_common(const Call& call, int64_t losses) {
  if (check_codes(call.y_true_dtype, call.y_pred_dtype, call.reduction) ||
      check_replicas(call.replicas))
    return -1;
  return call.weight ? check_weights(call.weight_count, call.weight_repeat, losses) : 0;
}

}  // namespace fastloss
