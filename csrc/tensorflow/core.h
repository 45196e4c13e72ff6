// A pattern's functions on any device.
#pragma once

#include "tensorflow/kernel.h"

namespace fastloss {

inline void check_call(int result) {
  if (result) throw invalid(fastloss_error());
}

// Those of fastloss.h, or on a GPU their twins of fastloss_cuda.h, which take scratch and a stream
// besides.
template <auto kForward, auto kBackward>
class Core;

template <class Call, class... F, class... B, int (*kForward)(const Call*, F...),
          int (*kBackward)(const Call*, B...)>
class Core<kForward, kBackward> {
 public:
  // Whether the CUDA library has "fastloss_cuda_<pattern>_...".
  static bool find_on_gpu(const std::string& pattern) {
    return find_gpu_function(pattern + "_scratch", &scratch_) &&
           find_gpu_function(pattern + "_forward", &forward_) &&
           find_gpu_function(pattern + "_backward", &backward_);
  }

  static void forward(const Run& run, const Call& call, F... outputs) {
    if (run.on_gpu())
      start(run, forward_, call, outputs...);
    else
      check_call(kForward(&call, outputs...));
  }

  static void backward(const Run& run, const Call& call, B... arguments) {
    if (run.on_gpu())
      start(run, backward_, call, arguments...);
    else
      check_call(kBackward(&call, arguments...));
  }

 private:
  template <class Function, class... Arguments>
  static void start(const Run& run, Function* function, const Call& call, Arguments... arguments) {
    const int64_t bytes = scratch_(&call);
    check_gpu(bytes < 0);
    const Tensor scratch = run.temporary(bytes);
    check_gpu(
        function(&call, arguments..., TF_TensorData(scratch.get()), gpu_stream(run.context())));
  }

  inline static int64_t (*scratch_)(const Call*);
  inline static int (*forward_)(const Call*, F..., void* scratch, void* stream);
  inline static int (*backward_)(const Call*, B..., void* scratch, void* stream);
};

}  // namespace fastloss
