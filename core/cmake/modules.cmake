# One line per module in the top CMakeLists.txt:
#
#   moegrad_core(tensor)           core/tensor.h     core/tensor.cpp     tests/core/tensor_test.cpp
#   moegrad_op(softmax)            ops/softmax.h     ops/softmax.cpp     tests/ops/softmax_test.cpp
#   moegrad_nn(moe/router)         nn/moe/router.h   nn/moe/router.cpp   tests/nn/moe/router_test.cpp
#     HEADER_ONLY                  there is no .cpp
#     TESTED_BY tests/a_test.cpp   another module's test covers it
#   moegrad_test(nn/training)      tests/nn/training_test.cpp, a test of several modules together
#   moegrad_test(cuda/reduce)      tests/cuda/reduce_test.cpp, in builds that have a GPU backend
#   moegrad_example(train_lm)      examples/train_lm.cpp -> the program train_lm
#     TEST [argument..]            ctest runs it, too
#   moegrad_report_check(train_lm out.html line-chart,table)  the report that the test of an example wrote into the build
#                                  folder has such figures, with data
#   moegrad_lesson(01_tensor)      examples/01_tensor.cpp -> the program 01_tensor; ctest runs it and looks for the lines of
#                                  tests/examples/lessons/01_tensor.txt in what it prints
#   moegrad_example_part(training/options)  examples/training/options.h, .cpp, tests/examples/training/options_test.cpp:
#                                  what several programs share, the library that all of them link
#   moegrad_benchmark(einsum)      tests/benchmarks/einsum.cpp -> the program bench_einsum
#   moegrad_gpu_benchmark(gpu_moe) the same where there is a GPU backend; it needs no Google Benchmark
#
# A file that is missing is an error here, at configure time, which names it. A test file that no line brings in
# fails when the tests run.

function(moegrad_require file why)
  if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${file})
    message(FATAL_ERROR "${why} needs ${file}, which does not exist")
  endif()
endfunction()

function(moegrad_module directory name)
  cmake_parse_arguments(PARSE_ARGV 2 arg "HEADER_ONLY" "TESTED_BY" "")
  set(who "The module ${directory}/${name}")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${who}: unknown ${arg_UNPARSED_ARGUMENTS}")
  endif()

  moegrad_require(${directory}/${name}.h "${who}")
  if(arg_HEADER_ONLY)
    if(EXISTS ${PROJECT_SOURCE_DIR}/${directory}/${name}.cpp)
      message(FATAL_ERROR "${who} is HEADER_ONLY, but ${directory}/${name}.cpp exists")
    endif()
  else()
    moegrad_require(${directory}/${name}.cpp "${who} (if it is not HEADER_ONLY)")
    target_sources(moegrad PRIVATE ${PROJECT_SOURCE_DIR}/${directory}/${name}.cpp)
  endif()

  set(test tests/${directory}/${name}_test.cpp)
  if(arg_TESTED_BY)
    set(test ${arg_TESTED_BY})
  endif()
  moegrad_require(${test} "${who}")
  set_property(GLOBAL APPEND PROPERTY MOEGRAD_TEST_SOURCES ${test})
endfunction()

macro(moegrad_core name)
  moegrad_module(core ${name} ${ARGN})
endmacro()

macro(moegrad_op name)
  moegrad_module(ops ${name} ${ARGN})
endmacro()

macro(moegrad_nn name)
  moegrad_module(nn ${name} ${ARGN})
endmacro()

function(moegrad_test name)
  moegrad_require(tests/${name}_test.cpp "The test ${name}")
  if(name MATCHES "^cuda/" AND MOEGRAD_CUDA STREQUAL "OFF")
    set_property(GLOBAL APPEND PROPERTY MOEGRAD_TESTS_LEFT_OUT tests/${name}_test.cpp)
    return()
  endif()
  set_property(GLOBAL APPEND PROPERTY MOEGRAD_TEST_SOURCES tests/${name}_test.cpp)
endfunction()

if(MOEGRAD_EXAMPLES)
  add_library(moegrad_example_parts STATIC)
  moegrad_flags(moegrad_example_parts)
  target_link_libraries(moegrad_example_parts PUBLIC moegrad::moegrad CLI11::CLI11
    PRIVATE nlohmann_json::nlohmann_json moegrad::stb)
  # The default training data is the project itself.
  target_compile_definitions(moegrad_example_parts PRIVATE MOEGRAD_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
endif()

function(moegrad_example_part name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TESTED_BY" "")
  set(test tests/examples/${name}_test.cpp)
  if(arg_TESTED_BY)
    set(test ${arg_TESTED_BY})
  endif()
  moegrad_require(examples/${name}.h "The part ${name} of examples")
  moegrad_require(examples/${name}.cpp "The part ${name} of examples")
  moegrad_require(${test} "The part ${name} of examples")
  if(NOT MOEGRAD_EXAMPLES)
    set_property(GLOBAL APPEND PROPERTY MOEGRAD_TESTS_LEFT_OUT ${test})
    return()
  endif()
  target_sources(moegrad_example_parts PRIVATE ${PROJECT_SOURCE_DIR}/examples/${name}.cpp)
  set_property(GLOBAL APPEND PROPERTY MOEGRAD_TEST_SOURCES ${test})
endfunction()

function(moegrad_example name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "TEST")
  moegrad_require(examples/${name}.cpp "The example ${name}")
  if(NOT MOEGRAD_EXAMPLES)
    return()
  endif()
  add_executable(${name} ${PROJECT_SOURCE_DIR}/examples/${name}.cpp)
  moegrad_flags(${name})
  target_link_libraries(${name} PRIVATE moegrad::moegrad CLI11::CLI11 moegrad_example_parts)
  # The default training data is the project itself.
  target_compile_definitions(${name} PRIVATE MOEGRAD_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(MOEGRAD_TESTS AND "TEST" IN_LIST ARGN)
    add_test(NAME examples/${name} COMMAND ${name} ${arg_TEST})
    set_tests_properties(examples/${name} PROPERTIES ENVIRONMENT OMP_WAIT_POLICY=passive)
  endif()
endfunction()

function(moegrad_report_check name file kinds)
  if(NOT MOEGRAD_TESTS OR NOT MOEGRAD_EXAMPLES)
    return()
  endif()
  set_tests_properties(examples/${name} PROPERTIES FIXTURES_SETUP report_of_${name})
  find_package(Python3 COMPONENTS Interpreter)
  if(Python3_Interpreter_FOUND)
    add_test(NAME report/${name} COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tests/report/check_dom.py
      ${PROJECT_BINARY_DIR}/${file} --need ${kinds})
  else()
    add_test(NAME report/${name} COMMAND ${CMAKE_COMMAND} -E echo "NOT RUN: python3 is missing")
  endif()
  set_tests_properties(report/${name} PROPERTIES FIXTURES_REQUIRED report_of_${name} SKIP_REGULAR_EXPRESSION "NOT RUN")
endfunction()

function(moegrad_lesson name)
  set(expected tests/examples/lessons/${name}.txt)
  moegrad_require(${expected} "The lesson ${name}")
  moegrad_example(${name})
  if(MOEGRAD_TESTS AND MOEGRAD_EXAMPLES)
    add_test(NAME examples/${name} COMMAND ${CMAKE_COMMAND} -D PROGRAM=$<TARGET_FILE:${name}>
      -D EXPECTED=${PROJECT_SOURCE_DIR}/${expected} -P ${PROJECT_SOURCE_DIR}/tests/examples/lessons/run.cmake)
    set_tests_properties(examples/${name} PROPERTIES ENVIRONMENT OMP_WAIT_POLICY=passive)
  endif()
endfunction()

function(moegrad_benchmark name)
  moegrad_require(tests/benchmarks/${name}.cpp "The benchmark ${name}")
  if(NOT benchmark_FOUND)
    return()
  endif()
  add_executable(bench_${name} ${PROJECT_SOURCE_DIR}/tests/benchmarks/${name}.cpp)
  moegrad_flags(bench_${name})
  target_link_libraries(bench_${name} PRIVATE moegrad::moegrad benchmark::benchmark_main)
endfunction()

function(moegrad_gpu_benchmark name)
  moegrad_require(tests/benchmarks/${name}.cpp "The benchmark ${name}")
  if(MOEGRAD_CUDA STREQUAL "OFF" OR NOT MOEGRAD_TESTS)
    return()
  endif()
  add_executable(bench_${name} ${PROJECT_SOURCE_DIR}/tests/benchmarks/${name}.cpp)
  moegrad_flags(bench_${name})
  target_link_libraries(bench_${name} PRIVATE moegrad::moegrad)
endfunction()
