# The CUDA kernels, a library of their own: libfastloss.so and the TensorFlow library load on
# machines without a driver.
# The tests compile the same sources for the host.
set(fastloss_cuda_sources
  csrc/cuda/boxes/driver.cu
  csrc/cuda/boxes/pass.cu
  csrc/cuda/columns/driver.cu
  csrc/cuda/columns/pass.cu
  csrc/cuda/common/arrays.cu
  csrc/cuda/common/divisor.cu
  csrc/cuda/common/expand.cu
  csrc/cuda/common/library.cpp
  csrc/cuda/common/scalar_probe.cu
  csrc/cuda/common/summary.cu
  csrc/cuda/elementwise/driver.cu
  csrc/cuda/elementwise/guess.cu
  csrc/cuda/elementwise/multi_term.cu
  csrc/cuda/elementwise/single_term_double.cu
  csrc/cuda/elementwise/single_term_float.cu
  csrc/cuda/elementwise/single_term_half.cu
  csrc/cuda/overlap/driver.cu
  csrc/cuda/overlap/groups.cu
  csrc/cuda/overlap/pass_double.cu
  csrc/cuda/overlap/pass_float.cu
  csrc/cuda/overlap/pass_half.cu
  csrc/cuda/rowwise/contiguous_double.cu
  csrc/cuda/rowwise/contiguous_float.cu
  csrc/cuda/rowwise/contiguous_half.cu
  csrc/cuda/rowwise/driver.cu
  csrc/cuda/rowwise/row_summary.cu
  csrc/cuda/rowwise/short_rows.cu
  csrc/cuda/rowwise/strided.cu
  csrc/api/boxes_call.cpp
  csrc/api/call.cpp
  csrc/api/columns_call.cpp
  csrc/api/elementwise_call.cpp
  csrc/api/overlap_call.cpp
  csrc/api/rowwise_call.cpp)

set(FASTLOSS_CUDA AUTO CACHE STRING
  "Build the CUDA kernels: ON, OFF, or AUTO, which does where nvcc and a driver are found")
set_property(CACHE FASTLOSS_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT FASTLOSS_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "FASTLOSS_CUDA is '${FASTLOSS_CUDA}'; expected AUTO, ON or OFF")
endif()
if(FASTLOSS_CUDA STREQUAL "OFF")
  return()
endif()

find_library(FASTLOSS_CUDA_DRIVER NAMES libcuda.so.1
  PATHS ENV LD_LIBRARY_PATH /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64
        /usr/local/nvidia/lib64 /usr/lib/wsl/lib)
if(FASTLOSS_CUDA STREQUAL "AUTO" AND NOT FASTLOSS_CUDA_DRIVER)
  message(STATUS "CUDA kernels: not built, as there is no driver; FASTLOSS_CUDA=ON builds them")
  return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(FASTLOSS_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FASTLOSS_CUDA is ON, but nvcc was not found: put it on PATH, or set "
                        "CMAKE_CUDA_COMPILER to it")
  endif()
  message(STATUS "CUDA kernels: not built, as nvcc was not found")
  return()
endif()

# What the user asks for, else the GPU of this machine, else the common ones and PTX for later ones.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
  if(FASTLOSS_CUDA STREQUAL "AUTO" AND CMAKE_VERSION VERSION_GREATER_EQUAL 3.24)
    set(CMAKE_CUDA_ARCHITECTURES native)
  else()
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90)
  endif()
endif()
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.2)
  message(FATAL_ERROR "nvcc is ${CMAKE_CUDA_COMPILER_VERSION}; expected 12.2 or later")
endif()
message(STATUS "CUDA kernels: built for ${CMAKE_CUDA_ARCHITECTURES}")
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)

add_library(fastloss_cuda SHARED ${fastloss_cuda_sources})
target_compile_definitions(fastloss_cuda
  PRIVATE FASTLOSS_ISA=cuda FASTLOSS_VERSION="${PROJECT_VERSION}")
target_compile_options(fastloss_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>
  $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${FASTLOSS_WERROR}>>:-Werror=all-warnings>)
# TensorFlow's library exports a CUDA runtime too: ours is inside, and nobody else sees it.
set_target_properties(fastloss_cuda PROPERTIES
  CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden)
target_link_options(fastloss_cuda PRIVATE LINKER:--exclude-libs,ALL)
list(APPEND fastloss_libraries fastloss_cuda)
