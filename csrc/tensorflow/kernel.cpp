#include "tensorflow/kernel.h"

namespace fastloss {
namespace {

// Below it TensorFlow's allocator has warm memory at hand, and huge pages would be half empty.
constexpr int64_t kRecycledBytes = int64_t(4) << 20;

}  // namespace

void check(const Status& status) {
  const TF_Code code = TF_GetCode(status.get());
  if (code != TF_OK) throw KernelError(code, TF_Message(status.get()));
}

Dims dims_of(const TF_Tensor* tensor) {
  Dims dims(TF_NumDims(tensor));
  for (size_t i = 0; i < dims.size(); ++i) dims[i] = TF_Dim(tensor, int(i));
  return dims;
}

int64_t count_of(const Dims& dims) {
  int64_t count = 1;
  for (const int64_t dim : dims) count *= dim;
  return count;
}

std::string text_of(const Dims& dims) {
  std::string text = "[";
  for (const int64_t dim : dims) text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  return text + "]";
}

int64_t size_of(TF_DataType dtype) {
  return dtype == FASTLOSS_FLOAT64 ? 8 : dtype == FASTLOSS_FLOAT32 ? 4 : 2;
}

TF_DataType accumulation_type(TF_DataType dtype) {
  return dtype == FASTLOSS_FLOAT64 ? FASTLOSS_FLOAT64 : FASTLOSS_FLOAT32;
}

TF_DataType Attributes::type(const char* name) const {
  const Status status(TF_NewStatus());
  TF_DataType value = 0;
  TF_OpKernelConstruction_GetAttrType(construction_, name, &value, status.get());
  check(status);
  return value;
}

int64_t Attributes::integer(const char* name) const {
  const Status status(TF_NewStatus());
  int64_t value = 0;
  TF_OpKernelConstruction_GetAttrInt64(construction_, name, &value, status.get());
  check(status);
  return value;
}

std::vector<int64_t> Attributes::integers(const char* name) const {
  const Status status(TF_NewStatus());
  int32_t count = 0, bytes = 0;
  TF_OpKernelConstruction_GetAttrSize(construction_, name, &count, &bytes, status.get());
  check(status);
  std::vector<int64_t> values(count);
  TF_OpKernelConstruction_GetAttrInt64List(construction_, name, values.data(), count, status.get());
  check(status);
  return values;
}

std::string Attributes::string(const char* name) const {
  const Status status(TF_NewStatus());
  int32_t count = 0, bytes = 0;
  TF_OpKernelConstruction_GetAttrSize(construction_, name, &count, &bytes, status.get());
  check(status);
  std::string value(bytes, '\0');
  TF_OpKernelConstruction_GetAttrString(construction_, name, value.data(), bytes, status.get());
  check(status);
  return value;
}

Tensor Run::input(int index) const {
  const Status status(TF_NewStatus());
  TF_Tensor* tensor = nullptr;
  TF_GetInput(context_, index, &tensor, status.get());
  check(status);
  return Tensor(tensor);
}

void* Run::output(int index, TF_DataType dtype, const Dims& dims) const {
  const Status status(TF_NewStatus());
  const Tensor tensor(TF_AllocateOutput(context_, index, dtype, dims.data(), int(dims.size()),
                                        count_of(dims) * size_of(dtype), status.get()));
  check(status);
  return TF_TensorData(tensor.get());
}

void Run::output(int index, const Tensor& tensor) const {
  const Status status(TF_NewStatus());
  TF_SetOutput(context_, index, tensor.get(), status.get());
  check(status);
}

void* Run::large_output(int index, TF_DataType dtype, const Dims& dims, int candidate,
                        Tensor tensor, std::atomic<bool>* forwards) const {
  const bool recycles = !on_gpu_ && count_of(dims) * size_of(dtype) >= kRecycledBytes;
  if (recycles && (candidate < 0 || !*forwards)) return recycled_output(index, dtype, dims);
  bool forwarded;
  void* const data = forwarded_output(index, dims, candidate, std::move(tensor), &forwarded);
  if (!forwarded) *forwards = false;
  return data;
}

void* Run::forwarded_output(int index, const Dims& dims, int candidate, Tensor tensor,
                            bool* forwarded) const {
  // TensorFlow forwards a buffer only when nobody else holds it, this handle included.
  tensor.reset();
  const Status status(TF_NewStatus());
  int from = -1;
  const Tensor output(TF_ForwardInputOrAllocateOutput(context_, &candidate, candidate >= 0, index,
                                                      dims.data(), int(dims.size()), &from,
                                                      status.get()));
  check(status);
  *forwarded = from >= 0;
  return TF_TensorData(output.get());
}

Tensor Run::temporary(int64_t bytes) const {
  TF_AllocatorAttributes attributes = {};
  attributes.struct_size = offsetof(TF_AllocatorAttributes, on_host) + sizeof(attributes.on_host);
  const Status status(TF_NewStatus());
  Tensor tensor(TF_AllocateTemp(context_, FASTLOSS_UINT8, &bytes, 1, &attributes, status.get()));
  check(status);
  return tensor;
}

void* Run::recycled_output(int index, TF_DataType dtype, const Dims& dims) const {
  const int64_t bytes = count_of(dims) * size_of(dtype);
  void* const data = fastloss_allocate(bytes);
  if (!data)
    throw KernelError(TF_RESOURCE_EXHAUSTED, "fastloss could not allocate a gradient of shape " +
                                                 text_of(dims) + " (" + std::to_string(bytes) +
                                                 " bytes)");
  const auto release = [](void* buffer, size_t length, void*) {
    fastloss_release(buffer, int64_t(length));
  };
  const Tensor tensor(
      TF_NewTensor(dtype, dims.data(), int(dims.size()), data, bytes, release, nullptr));
  output(index, tensor);
  return data;
}

}  // namespace fastloss
