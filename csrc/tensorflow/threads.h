#pragma once

#include "../fastloss.h"
#include "c_api.h"

namespace fastloss {

// TensorFlow's own intra-op threads, or null where this TensorFlow does not show them; the library's
// own threads serve then. `context` is what fastloss_parallel_for wants beside it.
fastloss_parallel_for tensorflow_parallel_for(TF_OpKernelContext* kernel, void** context);

}  // namespace fastloss

// 1 if TensorFlow's threads are used, 0 if the library's own.
extern "C" FASTLOSS_API int fastloss_tensorflow_threads(void);
