// What the shared loss code needs to know about where it is compiled: host or CUDA device, and for
// which CPU instruction set.
#pragma once

#ifndef FASTLOSS_ISA
#define FASTLOSS_ISA baseline
#endif

// Forced, since the vectoriser turns down a loop with a call in it.
#ifdef __CUDACC__
#define FASTLOSS_INLINE __host__ __device__ __forceinline__
#else
#define FASTLOSS_INLINE inline __attribute__((always_inline))
#endif

// Before a loop over an array that must stay in registers on a GPU.
#ifdef __CUDA_ARCH__
#define FASTLOSS_UNROLL _Pragma("unroll")
#else
#define FASTLOSS_UNROLL
#endif
