// What every kernel needs from TensorFlow's C interface: owned handles, shapes, outputs, errors.
#pragma once

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "api/fastloss.h"
#include "tensorflow/c_api.h"
#include "tensorflow/gpu.h"

namespace fastloss {

struct Delete {
  void operator()(TF_Status* status) const { TF_DeleteStatus(status); }
  void operator()(TF_Tensor* tensor) const { TF_DeleteTensor(tensor); }
  void operator()(TF_ShapeHandle* shape) const { TF_DeleteShapeHandle(shape); }
};
using Status = std::unique_ptr<TF_Status, Delete>;
using Tensor = std::unique_ptr<TF_Tensor, Delete>;
using Shape = std::unique_ptr<TF_ShapeHandle, Delete>;

// Thrown inside a kernel, handed to TensorFlow at its border.
struct KernelError : std::runtime_error {
  TF_Code code;
  KernelError(TF_Code code, const std::string& message) : runtime_error(message), code(code) {}
};

inline KernelError invalid(const std::string& message) {
  return KernelError(TF_INVALID_ARGUMENT, message);
}

void check(const Status& status);

using Dims = std::vector<int64_t>;
Dims dims_of(const TF_Tensor* tensor);
int64_t count_of(const Dims& dims);
std::string text_of(const Dims& dims);

// Attributes of the node that a kernel is made for.
class Attributes {
 public:
  explicit Attributes(TF_OpKernelConstruction* construction) : construction_(construction) {}
  TF_DataType type(const char* name) const;
  int64_t integer(const char* name) const;
  std::vector<int64_t> integers(const char* name) const;
  std::string string(const char* name) const;

 private:
  TF_OpKernelConstruction* construction_;
};

// Inputs and outputs of one run of a kernel; on a GPU they lie in its memory.
class Run {
 public:
  Run(TF_OpKernelContext* context, bool on_gpu) : context_(context), on_gpu_(on_gpu) {}
  TF_OpKernelContext* context() const { return context_; }
  bool on_gpu() const { return on_gpu_; }

  Tensor input(int index) const;
  void* output(int index, TF_DataType dtype, const Dims& dims) const;
  // Shares the tensor's buffer.
  void output(int index, const Tensor& tensor) const;
  // The buffer of input `candidate` where TensorFlow needs it no more, else a new one. `tensor` is
  // that input, and is given up; a negative candidate is none.
  void* forwarded_output(int index, const Dims& dims, int candidate, Tensor tensor,
                         bool* forwarded) const;
  // The same for something as large as a gradient: where nothing is forwarded, a recycled buffer,
  // which later kernels cannot forward. Whether a buffer is free is a property of the graph around
  // the kernel, so one refusal, remembered in `forwards`, is enough.
  void* large_output(int index, TF_DataType dtype, const Dims& dims, int candidate, Tensor tensor,
                     std::atomic<bool>* forwards) const;
  // Memory of the device for this run. On a GPU what is started in its stream may use it still when
  // the run is over: TensorFlow gives it out again to what follows in the same stream.
  Tensor temporary(int64_t bytes) const;

 private:
  void* recycled_output(int index, TF_DataType dtype, const Dims& dims) const;

  TF_OpKernelContext* context_;
  bool on_gpu_;
};

int64_t size_of(TF_DataType dtype);
// float64 for float64, else float32.
TF_DataType accumulation_type(TF_DataType dtype);

// Runs a kernel's body and reports what it throws.
template <class Body>
void guarded(TF_OpKernelContext* context, const Body& body) {
  const auto report = [context](TF_Code code, const char* message) {
    const Status status(TF_NewStatus());
    TF_SetStatus(status.get(), code, message);
    TF_OpKernelContext_Failure(context, status.get());
  };
  try {
    body();
  } catch (const KernelError& error) {
    report(error.code, error.what());
  } catch (const std::bad_alloc&) {
    report(TF_RESOURCE_EXHAUSTED, "fastloss ran out of memory");
  } catch (const std::exception& error) {
    report(TF_INTERNAL, error.what());
  }
}

template <class K, bool kOnGpu>
void register_kernels_on(const char* device, const std::string& op,
                         const std::vector<const char*>& host_inputs) {
  for (const TF_DataType dtype :
       {FASTLOSS_FLOAT16, FASTLOSS_BFLOAT16, FASTLOSS_FLOAT32, FASTLOSS_FLOAT64}) {
    const auto create = [](TF_OpKernelConstruction* construction) -> void* {
      try {
        return new K(Attributes(construction));
      } catch (const std::exception& error) {
        const Status status(TF_NewStatus());
        TF_SetStatus(status.get(), TF_INVALID_ARGUMENT, error.what());
        TF_OpKernelConstruction_Failure(construction, status.get());
        return nullptr;
      }
    };
    const auto compute = [](void* kernel, TF_OpKernelContext* context) {
      guarded(context, [&] { static_cast<K*>(kernel)->run(Run(context, kOnGpu)); });
    };
    const auto destroy = [](void* kernel) { delete static_cast<K*>(kernel); };
    const Status status(TF_NewStatus());
    TF_KernelBuilder* const builder =
        TF_NewKernelBuilder(op.c_str(), device, create, compute, destroy);
    TF_KernelBuilder_TypeConstraint(builder, "T", dtype, status.get());
    check(status);
    for (const char* const input : host_inputs) TF_KernelBuilder_HostMemory(builder, input);
    TF_RegisterKernelBuilder(op.c_str(), builder, status.get());
    check(status);
  }
}

// Registers K, which has K(const Attributes&) and run(const Run&), for each dtype of "T". On a GPU
// if `find` finds what K asks of the CUDA library; `host_inputs` are in the host's memory there.
template <class K>
void register_kernels(const std::string& op, bool (*find)(),
                      const std::vector<const char*>& host_inputs = {}) {
  if (!kGpuOnHost) register_kernels_on<K, false>("CPU", op, {});
  register_on_gpu([=] {
    if (find()) register_kernels_on<K, true>(kGpuDevice, op, host_inputs);
  });
}

}  // namespace fastloss
