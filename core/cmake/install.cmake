# `cmake --install`, and what find_package(moegrad) needs afterwards.
include(CMakePackageConfigHelpers)
if(MOEGRAD_CUDA STREQUAL "EMULATED")
  return()  # for tests in this tree only
endif()
set(moegrad_package lib/cmake/moegrad)

install(TARGETS moegrad EXPORT moegrad-targets ARCHIVE DESTINATION lib)
install(EXPORT moegrad-targets NAMESPACE moegrad:: DESTINATION ${moegrad_package})
install(DIRECTORY core ops nn DESTINATION include/moegrad FILES_MATCHING PATTERN "*.h" PATTERN cmake EXCLUDE)
install(FILES ${PROJECT_BINARY_DIR}/generated/core/config.h DESTINATION include/moegrad/core)

configure_package_config_file(core/cmake/moegrad-config.cmake.in moegrad-config.cmake
  INSTALL_DESTINATION ${moegrad_package})
write_basic_package_version_file(moegrad-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES core/cmake/openblas.cmake
  ${PROJECT_BINARY_DIR}/moegrad-config.cmake
  ${PROJECT_BINARY_DIR}/moegrad-config-version.cmake
  DESTINATION ${moegrad_package})
