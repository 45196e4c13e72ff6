// The way to a GPU: the functions of libfastloss_cuda.so, and TensorFlow's stream.
#pragma once

#include <functional>
#include <string>

#include "api/fastloss.h"
#include "tensorflow/c_api.h"

namespace fastloss {

// Tests run what is meant for a GPU on the host, in place of the CPU's kernels: with a library that
// stands in for CUDA, and without a stream.
#ifdef FASTLOSS_GPU_ON_HOST
constexpr bool kGpuOnHost = true;
constexpr const char* kGpuDevice = "CPU";
constexpr const char* kCudaLibrary = "libcuda_on_host.so";
#else
constexpr bool kGpuOnHost = false;
constexpr const char* kGpuDevice = "GPU";
constexpr const char* kCudaLibrary = "libfastloss_cuda.so";
#endif

// Keeps a registration of kernels until fastloss_use_tensorflow_gpu finds that they can run.
void register_on_gpu(std::function<void()> registration);

// A function of the CUDA library, "fastloss_cuda_<name>". Null where it has none, which
// fastloss_tensorflow_gpu then says.
void* gpu_function(const std::string& name);

template <class Function>
bool find_gpu_function(const std::string& name, Function** function) {
  return (*function = reinterpret_cast<Function*>(gpu_function(name))) != nullptr;
}

// Throws the CUDA library's error if there is one.
void check_gpu(bool failed);

// CUDA's stream of a kernel that runs on a GPU.
void* gpu_stream(TF_OpKernelContext* kernel);

}  // namespace fastloss

// Registers the kernels for GPUs, where TensorFlow and the CUDA library allow it. The way to
// TensorFlow's stream goes through its memory layout, so it is taken only for a release whose
// layout is known: the loader says so. Only the first call counts.
extern "C" FASTLOSS_API void fastloss_use_tensorflow_gpu(int release_is_tested);
// Empty if every op has a kernel for GPUs, else why not.
extern "C" FASTLOSS_API const char* fastloss_tensorflow_gpu(void);
