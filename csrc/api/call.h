// What every call holds, on any device: dtypes, and losses by name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
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
  const char* parameters;
  int parameter_count() const {
    if (!*parameters) return 0;
    return 1 + int(std::count(parameters, parameters + std::strlen(parameters), ','));
  }
};

template <class Entry, size_t kCount>
const Entry* find_loss(const Entry (&losses)[kCount], const char* name) {
  for (const Entry& loss : losses)
    if (!std::strcmp(loss.name, name)) return &loss;
  return nullptr;
}

// Of the other patterns, or null.
const LossEntry* find_elementwise(const char* name);
const LossEntry* find_rowwise(const char* name);

// "huber(delta) ..."
template <class Entry, size_t kCount>
std::string names_of(const Entry (&losses)[kCount]) {
  std::string text;
  for (const Entry& loss : losses) {
    std::string parameters = loss.parameters;
    parameters.erase(std::remove(parameters.begin(), parameters.end(), ' '), parameters.end());
    text += (text.empty() ? "" : " ") + std::string(loss.name) + "(" + parameters + ")";
  }
  return text;
}

// Whether a table has a loss with so many parameters: 0, or -1 with the reason.
template <class Entry, size_t kCount>
int check_loss(const Entry (&losses)[kCount], const char* kind, const char* name,
               int32_t parameter_count) {
  const Entry* const loss = find_loss(losses, name);
  if (!loss)
    return fail("loss '%s' is unknown; the %s are: %s", name, kind, names_of(losses).c_str());
  if (parameter_count != loss->parameter_count())
    return fail("loss '%s' takes %d parameters (%s), not %d", name, loss->parameter_count(),
                loss->parameters, parameter_count);
  return 0;
}

// What calls of all patterns name by a code: 0, or -1 with the reason.
template <class Call>
int check_codes(const Call& call) {
  if (!dtype_size(call.y_true_dtype))
    return fail("y_true has dtype code %d; expected a boolean, an integer or a float",
                call.y_true_dtype);
  if (!is_prediction_dtype(call.y_pred_dtype))
    return fail("y_pred has dtype code %d; expected float16, bfloat16, float32 or float64",
                call.y_pred_dtype);
  if (call.reduction < FASTLOSS_NONE || call.reduction > FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT)
    return fail("reduction code %d is unknown", call.reduction);
  return 0;
}

}  // namespace fastloss
