// What every call holds, on any device: dtypes, and losses by name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "fastloss.h"

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

}  // namespace fastloss
