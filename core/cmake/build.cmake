# The target `moegrad`, the flags of our own code, and the libraries it stands on.

if(NOT MOEGRAD_CUDA MATCHES "^(OFF|NVCC|EMULATED)$")
  message(FATAL_ERROR "MOEGRAD_CUDA must be OFF, NVCC or EMULATED; got '${MOEGRAD_CUDA}'")
endif()

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  find_program(MOEGRAD_CCACHE ccache)
  if(MOEGRAD_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    # Paths relative to this checkout, so that several checkouts share what they compiled.
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${MOEGRAD_CCACHE})
  endif()
endif()

function(moegrad_cxx_options target)
  foreach(option IN LISTS ARGN)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${option}>)
  endforeach()
endfunction()

# The flags of our own targets. They are private: a program that links moegrad keeps its own.
function(moegrad_flags target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF COMPILE_WARNING_AS_ERROR ${MOEGRAD_WERROR})
  moegrad_cxx_options(${target}
    -Wall -Wextra -Wpedantic -Wnon-virtual-dtor -Wold-style-cast
    -Wno-missing-field-initializers  # {.stride = 2} leaves the other options at their defaults
    -fno-math-errno -fno-trapping-math)  # no value changes; loops with sqrt or a comparison vectorise
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr
    $<$<BOOL:${MOEGRAD_WERROR}>:-Werror=all-warnings> -Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers,-Wno-unknown-pragmas>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    moegrad_cxx_options(${target} -Wshadow=local
      -Wno-restrict)  # false alarms on std::string + "text" in GCC 12
  else()
    moegrad_cxx_options(${target} -Wshadow)
  endif()
  if(MOEGRAD_NATIVE)
    moegrad_cxx_options(${target} -march=native)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12
        AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
      # GCC 12 with AVX-512 stores constants such as {1, 1, 0, 0} as {1, 1, 1, 1} (tests/core/compiler_test.cpp), but
      # not in pieces of 128 bits. This is about copies of constants only; loops use wide registers as before.
      moegrad_cxx_options(${target} -mmove-max=128 -mstore-max=128)
    endif()
  endif()
  if(MOEGRAD_SANITIZE)
    set(sanitize -fsanitize=${MOEGRAD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_compile_options(${target} PRIVATE ${sanitize}
      -Wno-maybe-uninitialized)  # false alarms in instrumented code
    target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS)
    target_link_options(${target} PRIVATE ${sanitize})
  endif()
endfunction()

# On the system first; otherwise fetched.
include(FetchContent)
set(FMT_INSTALL ON)  # a fetched fmt is installed with moegrad, which needs it
FetchContent_Declare(fmt SYSTEM
  URL https://github.com/fmtlib/fmt/archive/refs/tags/10.2.1.tar.gz
  FIND_PACKAGE_ARGS 9)
FetchContent_Declare(nlohmann_json SYSTEM
  URL https://github.com/nlohmann/json/archive/refs/tags/v3.11.3.tar.gz
  FIND_PACKAGE_ARGS 3.10)
FetchContent_Declare(doctest SYSTEM
  URL https://github.com/doctest/doctest/archive/refs/tags/v2.4.12.tar.gz
  FIND_PACKAGE_ARGS 2.4.9)
FetchContent_Declare(CLI11 SYSTEM
  URL https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.4.2.tar.gz
  FIND_PACKAGE_ARGS 2.1)
# A project that adds moegrad as a subdirectory links these targets, too. (Set any earlier, it breaks
# FetchContent_Declare in CMake 3.25.)
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
FetchContent_MakeAvailable(fmt nlohmann_json)
if(MOEGRAD_TESTS)
  FetchContent_MakeAvailable(doctest)
endif()
if(MOEGRAD_TESTS OR MOEGRAD_EXAMPLES)
  FetchContent_MakeAvailable(CLI11)
endif()
if(MOEGRAD_BENCHMARKS)
  find_package(benchmark QUIET)
  if(NOT benchmark_FOUND)
    message(STATUS "Google Benchmark is not installed: benchmarks are not built")
  endif()
endif()
# stb has headers only and no package: moegrad::stb are those two that are used.
find_path(MOEGRAD_STB stb_image_write.h PATH_SUFFIXES stb)
if(NOT MOEGRAD_STB)
  FetchContent_Declare(stb URL https://github.com/nothings/stb/archive/8b5f1f37b5b75829fc72d38e7b5d4bcbf8a26d55.tar.gz)
  FetchContent_MakeAvailable(stb)
  set(MOEGRAD_STB ${stb_SOURCE_DIR})
endif()
add_library(moegrad_stb INTERFACE)
add_library(moegrad::stb ALIAS moegrad_stb)
target_include_directories(moegrad_stb SYSTEM INTERFACE ${MOEGRAD_STB})
find_package(OpenMP REQUIRED COMPONENTS CXX)
include(core/cmake/openblas.cmake)

if(MOEGRAD_CUDA STREQUAL "OFF")
  set(MOEGRAD_WITH_CUDA false)
else()
  set(MOEGRAD_WITH_CUDA true)
endif()
configure_file(core/config.h.in generated/core/config.h @ONLY)

add_library(moegrad STATIC core/fwd.h)
add_library(moegrad::moegrad ALIAS moegrad)
set_target_properties(moegrad PROPERTIES LINKER_LANGUAGE CXX POSITION_INDEPENDENT_CODE ON)
moegrad_flags(moegrad)
target_include_directories(moegrad PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>
  $<INSTALL_INTERFACE:include/moegrad>)
target_link_libraries(moegrad
  PUBLIC fmt::fmt OpenMP::OpenMP_CXX
  PRIVATE moegrad::openblas $<BUILD_INTERFACE:nlohmann_json::nlohmann_json> $<BUILD_INTERFACE:moegrad::stb>)
include(core/cmake/cuda.cmake)
