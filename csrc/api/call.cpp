#include "api/call.h"

namespace fastloss {
namespace {

// Of elements of an array, so that their bytes can be counted too.
constexpr int64_t kMostElements = int64_t(1) << 58;

std::string text_of(std::initializer_list<Size> sizes) {
  std::string text;
  for (const Size& size : sizes)
    text += (text.empty() ? "" : ", ") + std::string(size.name) + " " + std::to_string(size.value);
  return text;
}

}  // namespace

std::string signature_of(const LossEntry& loss) {
  std::string parameters = loss.parameters;
  parameters.erase(std::remove(parameters.begin(), parameters.end(), ' '), parameters.end());
  return std::string(loss.name) + "(" + parameters + ")";
}

int check_parameter_count(const LossEntry& loss, int32_t parameter_count) {
  if (parameter_count == loss.parameter_count()) return 0;
  return fail("loss '%s' takes %d parameters (%s), not %d", loss.name, loss.parameter_count(),
              loss.parameters, parameter_count);
}

int64_t checked_product(std::initializer_list<Size> sizes) {
  int64_t product = 1;
  bool is_empty = false;
  for (const Size& size : sizes) {
    if (size.value < 0)
      return fail("sizes must not be negative, but they are: %s", text_of(sizes).c_str());
    is_empty |= size.value == 0;
    if (size.value > kMostElements / product)
      return fail("the product of the sizes must not be above 2^58, but they are: %s",
                  text_of(sizes).c_str());
    product *= std::max<int64_t>(1, size.value);
  }
  return is_empty ? 0 : product;
}

int check_codes(int32_t y_true_dtype, int32_t y_pred_dtype, int32_t reduction) {
  if (!dtype_size(y_true_dtype))
    return fail("y_true has dtype code %d; expected a boolean, an integer or a float",
                y_true_dtype);
  if (!is_prediction_dtype(y_pred_dtype))
    return fail("y_pred has dtype code %d; expected float16, bfloat16, float32 or float64",
                y_pred_dtype);
  if (reduction < FASTLOSS_NONE || reduction > FASTLOSS_MEAN_WITH_SAMPLE_WEIGHT)
    return fail("reduction code %d is unknown", reduction);
  return 0;
}

int check_replicas(int32_t replicas) {
  return replicas > 0 ? 0 : fail("replicas is %d; expected a positive number", replicas);
}

int check_weights(int64_t count, int64_t repeat, int64_t losses) {
  // Each number is repeated 0 times where there is no loss to weigh.
  if (count >= 0 && repeat >= (losses ? 1 : 0)) return 0;
  return fail(
      "weight_count is %lld and weight_repeat is %lld; expected numbers that weigh %lld losses",
      static_cast<long long>(count), static_cast<long long>(repeat),
      static_cast<long long>(losses));
}

}  // namespace fastloss
