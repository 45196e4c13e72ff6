/* The losses on a GPU, over the structs of fastloss.h. In these, y_true, y_pred, weight and
 * column_weight are device pointers, terms and names are in host memory, and parallel_for is not
 * looked at. All other pointers below are device pointers too.
 *
 * Work is put into `stream`, a cudaStream_t of the current device, and nothing waits for it: what a
 * call was given in device memory must stay until the stream has passed it. The bits of a result
 * depend on the call alone, not on the GPU's load. Functions that return int return 0, or -1 with a
 * sentence in fastloss_cuda_error(). */
#ifndef FASTLOSS_CUDA_H_
#define FASTLOSS_CUDA_H_

#include "api/fastloss.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Terms that one call may add up. */
#define FASTLOSS_CUDA_MAX_TERMS 16

/* Bytes of scratch that both functions below need for this call, aligned to 8; its contents do not
 * matter. -1 for a call that they refuse. */
FASTLOSS_API int64_t fastloss_cuda_elementwise_scratch(const fastloss_elementwise* call);

/* As fastloss_elementwise_forward. */
FASTLOSS_API int fastloss_cuda_elementwise_forward(const fastloss_elementwise* call, void* loss,
                                                   void* term_values, void* gradient, void* scratch,
                                                   void* stream);

/* As fastloss_elementwise_backward; the upstream gradient is read on the device. */
FASTLOSS_API int fastloss_cuda_elementwise_backward(const fastloss_elementwise* call,
                                                    const void* upstream, void* gradient,
                                                    void* scratch, void* stream);

/* As fastloss_overlap_forward and _backward, but for a label out of range, which makes NaN of the
 * losses and gradients of its outer (of all without per_outer). class_weight is a device pointer,
 * fused_terms are in host memory, and up to FASTLOSS_CUDA_MAX_TERMS. */
FASTLOSS_API int64_t fastloss_cuda_overlap_scratch(const fastloss_overlap* call);
FASTLOSS_API int fastloss_cuda_overlap_forward(const fastloss_overlap* call, void* loss,
                                               void* term_values, void* gradient, void* scratch,
                                               void* stream);
FASTLOSS_API int fastloss_cuda_overlap_backward(const fastloss_overlap* call, const void* upstream,
                                                void* gradient, void* scratch, void* stream);

/* As fastloss_boxes_forward and _backward. */
FASTLOSS_API int64_t fastloss_cuda_boxes_scratch(const fastloss_boxes* call);
FASTLOSS_API int fastloss_cuda_boxes_forward(const fastloss_boxes* call, void* loss, void* gradient,
                                             void* scratch, void* stream);
FASTLOSS_API int fastloss_cuda_boxes_backward(const fastloss_boxes* call, const void* upstream,
                                              void* gradient, void* scratch, void* stream);

/* As fastloss_columns_forward and _backward, of up to FASTLOSS_CUDA_MAX_TERMS tasks. */
FASTLOSS_API int64_t fastloss_cuda_columns_scratch(const fastloss_columns* call);
FASTLOSS_API int fastloss_cuda_columns_forward(const fastloss_columns* call, void* loss,
                                               void* task_values, void* gradient, void* scratch,
                                               void* stream);
FASTLOSS_API int fastloss_cuda_columns_backward(const fastloss_columns* call, const void* upstream,
                                                void* gradient, void* scratch, void* stream);

/* As fastloss_rowwise_forward and _backward, but for a sparse label that is neither a class nor
 * ignored: loss, gradient and log_sum_exp of its row are NaN. */
FASTLOSS_API int64_t fastloss_cuda_rowwise_scratch(const fastloss_rowwise* call);
FASTLOSS_API int fastloss_cuda_rowwise_forward(const fastloss_rowwise* call, void* loss,
                                               void* gradient, void* log_sum_exp, uint8_t* hit,
                                               void* scratch, void* stream);
FASTLOSS_API int fastloss_cuda_rowwise_backward(const fastloss_rowwise* call, const void* upstream,
                                                void* gradient, void* scratch, void* stream);

/* scaled = gradient * upstream[0]; in place, an upstream of 1 leaves the gradient unread. */
FASTLOSS_API int fastloss_cuda_scale(int32_t dtype, int64_t count, const void* gradient,
                                     const void* upstream, void* scaled, void* stream);

/* to[i] = from[j], where j is the sum of i's position in each of `dims`, in row-major order, times
 * that dimension's stride. `dims` and `strides` are in host memory and count elements; float32 or
 * float64. */
FASTLOSS_API int fastloss_cuda_expand(int32_t dtype, int32_t rank, const int64_t* dims,
                                      const int64_t* strides, const void* from, void* to,
                                      void* stream);

/* total += part; total has the accumulation type of `dtype`, that of part. */
FASTLOSS_API int fastloss_cuda_accumulate(int32_t dtype, int64_t count, const void* part,
                                          void* total, void* stream);

/* As fastloss_scalar, on the device. */
FASTLOSS_API int fastloss_cuda_scalar(const char* function, int32_t dtype, const void* x,
                                      const void* y, void* out, int64_t count, void* stream);

/* The last error of this thread. */
FASTLOSS_API const char* fastloss_cuda_error(void);
FASTLOSS_API const char* fastloss_cuda_version(void);

#ifdef __cplusplus
}
#endif

#endif /* FASTLOSS_CUDA_H_ */
