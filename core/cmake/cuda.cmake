# The GPU backend, in one of two ways (MOEGRAD_CUDA):
#   NVCC      the CUDA Toolkit compiles cuda/*.cu. cudart is linked statically and looks for the driver when it is first
#             asked for a GPU, so that programs start, and run on the CPU, on machines without one.
#   EMULATED  the host compiler compiles the same files against tests/cuda_on_cpu/, which runs kernels on the CPU: for
#             tests on machines without a GPU.

if(MOEGRAD_CUDA STREQUAL "NVCC")
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90-real 80-virtual)  # Hopper, and whatever the driver can make of the code for Ampere
  endif()
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25.1 does not know it yet
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  find_package(CUDAToolkit REQUIRED)
  if(MOEGRAD_CCACHE AND NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  endif()
  set_target_properties(moegrad PROPERTIES CUDA_STANDARD 20 CUDA_EXTENSIONS OFF
    CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}")
  target_link_libraries(moegrad INTERFACE $<LINK_ONLY:CUDA::cudart_static> $<LINK_ONLY:CUDA::cublas>)
  set(moegrad_cuda_headers ${CUDAToolkit_INCLUDE_DIRS})
elseif(MOEGRAD_CUDA STREQUAL "EMULATED")
  add_subdirectory(tests/cuda_on_cpu)
  target_link_libraries(moegrad INTERFACE $<LINK_ONLY:cuda_on_cpu>)
  set(moegrad_cuda_headers ${PROJECT_SOURCE_DIR}/tests/cuda_on_cpu)
endif()

# moegrad_cuda(softmax.cu): cuda/softmax.cu, where there is a GPU backend. Only these files see the headers of CUDA, so
# that all others are compiled alike in both ways, and once (ccache).
function(moegrad_cuda file)
  set(source ${PROJECT_SOURCE_DIR}/cuda/${file})
  if(NOT EXISTS ${source})
    message(FATAL_ERROR "The GPU backend needs cuda/${file}, which does not exist")
  endif()
  if(MOEGRAD_CUDA STREQUAL "OFF")
    return()
  endif()
  target_sources(moegrad PRIVATE ${source})
  if(MOEGRAD_CUDA STREQUAL "EMULATED")
    set_source_files_properties(${source} PROPERTIES LANGUAGE CXX
      COMPILE_OPTIONS "-I${moegrad_cuda_headers};-Wno-unknown-pragmas")
  elseif(file MATCHES "[.]cpp$")
    list(TRANSFORM moegrad_cuda_headers PREPEND -isystem OUTPUT_VARIABLE options)
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
  endif()
endfunction()
