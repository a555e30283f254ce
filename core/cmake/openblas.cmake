# Defines moegrad::openblas: the OpenMP build of OpenBLAS, so that its threads are the threads of our own loops.
#
# Distributions ship several builds of it under one soname (Debian: libopenblas.so.0) and let the system choose one,
# often the pthread build. So the library is linked by its own directory, which CMake also writes into the RPATH of
# the programs, and a small program asks it which build it is. Installed too: moegrad-config.cmake includes it.

# Debian keeps the builds in directories of their own, Fedora tells them apart by a suffix. The name with the version
# comes first because a plain libopenblas.so may be a linker script.
find_library(MOEGRAD_OPENBLAS_LIBRARY NAMES openblaso libopenblas.so.0 openblas NAMES_PER_DIR
  PATH_SUFFIXES openblas-openmp PATHS /opt/homebrew/opt/openblas/lib /usr/local/opt/openblas/lib)
find_path(MOEGRAD_OPENBLAS_INCLUDE NAMES openblas_config.h
  PATH_SUFFIXES openblas-openmp openblas PATHS /opt/homebrew/opt/openblas/include /usr/local/opt/openblas/include)

function(moegrad_openblas_failed what)
  # Look again next time: the person is about to install it.
  unset(MOEGRAD_OPENBLAS_LIBRARY CACHE)
  unset(MOEGRAD_OPENBLAS_INCLUDE CACHE)
  unset(MOEGRAD_OPENBLAS_RUNS CACHE)
  message(FATAL_ERROR "moegrad: ${what}\n"
    "It needs the OpenMP build of OpenBLAS:\n"
    "  Debian, Ubuntu:  apt-get install libopenblas-openmp-dev\n"
    "  Fedora:          dnf install openblas-devel\n"
    "  macOS:           brew install openblas libomp\n"
    "A copy elsewhere is found through -DCMAKE_PREFIX_PATH=<its prefix>.")
endfunction()

if(NOT MOEGRAD_OPENBLAS_LIBRARY OR NOT MOEGRAD_OPENBLAS_INCLUDE)
  moegrad_openblas_failed("OpenBLAS was not found.")
endif()

if(NOT TARGET moegrad::openblas)
  add_library(moegrad::openblas SHARED IMPORTED GLOBAL)
  set_target_properties(moegrad::openblas PROPERTIES
    IMPORTED_LOCATION "${MOEGRAD_OPENBLAS_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${MOEGRAD_OPENBLAS_INCLUDE}")
  if(NOT APPLE)
    # RPATH and not the newer RUNPATH, which LD_LIBRARY_PATH overrides and which is not used for the libraries that
    # OpenBLAS itself needs (libgfortran may lie beside it).
    set_target_properties(moegrad::openblas PROPERTIES INTERFACE_LINK_OPTIONS "LINKER:--disable-new-dtags")
  endif()
endif()

if(NOT DEFINED MOEGRAD_OPENBLAS_RUNS)
  try_run(MOEGRAD_OPENBLAS_RUNS MOEGRAD_OPENBLAS_COMPILES
    SOURCE_FROM_CONTENT openblas_build.cpp
      "#include <cblas.h>\nint main() { return openblas_get_parallel() == 2 ? 0 : 1; }\n"
    LINK_LIBRARIES moegrad::openblas
    COMPILE_OUTPUT_VARIABLE MOEGRAD_OPENBLAS_OUTPUT)
  if(NOT MOEGRAD_OPENBLAS_COMPILES)
    moegrad_openblas_failed("${MOEGRAD_OPENBLAS_LIBRARY} cannot be linked:\n${MOEGRAD_OPENBLAS_OUTPUT}")
  elseif(NOT MOEGRAD_OPENBLAS_RUNS EQUAL 0)
    moegrad_openblas_failed("${MOEGRAD_OPENBLAS_LIBRARY} is not the OpenMP build (openblas_get_parallel() is not 2).")
  endif()
  message(STATUS "OpenBLAS (OpenMP build): ${MOEGRAD_OPENBLAS_LIBRARY}")
endif()
