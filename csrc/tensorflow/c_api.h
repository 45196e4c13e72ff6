// The part of TensorFlow's C interface that we use, declared by ourselves: it has kept its binary
// form from 2.16 on, so that one library serves every release and none is needed to build it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_KernelBuilder TF_KernelBuilder;
typedef struct TF_OpKernelConstruction TF_OpKernelConstruction;
typedef struct TF_OpKernelContext TF_OpKernelContext;
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
typedef struct TF_ShapeInferenceContext TF_ShapeInferenceContext;
typedef struct TF_ShapeHandle TF_ShapeHandle;

typedef int TF_Code;
enum { TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8, TF_INTERNAL = 13 };
typedef int TF_DataType;

typedef void* (*TF_CreateKernel)(TF_OpKernelConstruction*);
typedef void (*TF_ComputeKernel)(void*, TF_OpKernelContext*);
typedef void (*TF_DeleteKernel)(void*);
typedef void (*TF_ShapeFunction)(TF_ShapeInferenceContext*, TF_Status*);
typedef void (*TF_Deallocator)(void* data, size_t length, void* argument);

typedef struct TF_AllocatorAttributes {
  size_t struct_size; /* up to the end of on_host, without padding */
  unsigned char on_host;
} TF_AllocatorAttributes;

#ifdef __cplusplus
extern "C" {
#endif
#define FASTLOSS_TF(RESULT, NAME, ARGUMENTS) extern RESULT NAME ARGUMENTS;
#include "tensorflow/c_api_functions.inc"
#undef FASTLOSS_TF
#ifdef __cplusplus
}
#endif
