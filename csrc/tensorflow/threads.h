#pragma once

#include "api/fastloss.h"
#include "tensorflow/c_api.h"

namespace fastloss {

// TensorFlow's own intra-op threads, or null where this TensorFlow does not show them; the
// library's own threads serve then. `context` is what fastloss_parallel_for wants beside it.
fastloss_parallel_for tensorflow_parallel_for(TF_OpKernelContext* kernel, void** context);

}  // namespace fastloss

// The way to TensorFlow's threads goes through its memory layout, so it is taken only for a release
// that it was tested with: the loader, who knows the release, says so.
extern "C" FASTLOSS_API void fastloss_use_tensorflow_threads(int release_is_tested);
// 1 if TensorFlow's threads are used, 0 if the library's own.
extern "C" FASTLOSS_API int fastloss_tensorflow_threads(void);
