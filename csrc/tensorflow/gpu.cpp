#include "tensorflow/gpu.h"

#include <dlfcn.h>

#include <cstdio>
#include <mutex>
#include <vector>

#include "tensorflow/kernel.h"

// As for the threads: no C function gives the stream of a device that TensorFlow brings itself, but
// every release from 2.16 to 2.21 exports this member of OpKernelContext, builds for CPUs included.
extern "C" const void* fastloss_eigen_gpu_device(const TF_OpKernelContext*) __asm__(
    "_ZNK10tensorflow15OpKernelContext12eigen_deviceIN5Eigen9GpuDeviceEEERKT_v")
    __attribute__((weak));

namespace fastloss {

// The virtual table of Eigen::StreamInterface as far as we need it; two entries are the
// destructor's.
struct EigenStream {
  virtual ~EigenStream() = default;
  virtual void* const& stream() const = 0;
};

namespace {

struct Gpu {
  std::vector<std::function<void()>> registrations;
  std::once_flag once;
  void* library = nullptr;
  const char* (*error)() = nullptr;
  std::string reason = "nobody has asked for them";
};

Gpu& gpu() {
  // Never destroyed: kernels may run while the process ends.
  static Gpu* const gpu = new Gpu;
  return *gpu;
}

// The library lies beside this one.
std::string cuda_library_path() {
  Dl_info here;
  if (!dladdr(reinterpret_cast<const void*>(&fastloss_tensorflow_gpu), &here)) return kCudaLibrary;
  const std::string path = here.dli_fname;
  const size_t slash = path.rfind('/');
  return (slash == std::string::npos ? "" : path.substr(0, slash + 1)) + kCudaLibrary;
}

std::string load_cuda_library() {
  const std::string path = cuda_library_path();
  if (FILE* const file = std::fopen(path.c_str(), "rb"))
    std::fclose(file);
  else
    return std::string("fastloss was built without CUDA (") + kCudaLibrary + " is missing)";
  gpu().library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!gpu().library) return std::string("the CUDA library cannot be loaded: ") + dlerror();
  return "";
}

void use(bool release_is_tested) {
  std::string& reason = gpu().reason;
  reason.clear();
  if (!kGpuOnHost && !fastloss_eigen_gpu_device)
    reason = "this TensorFlow does not show the stream of its GPU";
  else if (!kGpuOnHost && !release_is_tested)
    reason = "the way to the stream of TensorFlow's GPU is known for tested releases only";
  else
    reason = load_cuda_library();
  if (!reason.empty() || !find_gpu_function("error", &gpu().error)) return;
  for (const auto& registration : gpu().registrations) registration();
}

}  // namespace

void register_on_gpu(std::function<void()> registration) {
  gpu().registrations.push_back(std::move(registration));
}

void* gpu_function(const std::string& name) {
  const std::string symbol = "fastloss_cuda_" + name;
  void* const function = dlsym(gpu().library, symbol.c_str());
  std::string& reason = gpu().reason;
  if (!function && reason.find(symbol) == std::string::npos)
    reason += (reason.empty() ? kCudaLibrary + std::string(" lacks ") : ", ") + symbol;
  return function;
}

void check_gpu(bool failed) {
  if (failed) throw invalid(gpu().error());
}

void* gpu_stream(TF_OpKernelContext* kernel) {
  if (kGpuOnHost) return nullptr;
  // Eigen::GpuDevice begins with its StreamInterface*.
  return (*static_cast<const EigenStream* const*>(fastloss_eigen_gpu_device(kernel)))->stream();
}

}  // namespace fastloss

void fastloss_use_tensorflow_gpu(int release_is_tested) {
  using namespace fastloss;
  std::call_once(gpu().once, [&] {
    try {
      use(release_is_tested);
    } catch (const std::exception& error) {
      gpu().reason = error.what();
    }
  });
}

const char* fastloss_tensorflow_gpu(void) { return fastloss::gpu().reason.c_str(); }
