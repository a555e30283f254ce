# Run by ctest: installs this build into an empty prefix, then builds and runs the stranger's project against it.
#   cmake -D BUILD=<dir> -D GENERATOR=.. -D COMPILER=.. -D CONFIG=.. [-D PREFIX_PATH=..] -P check.cmake
set(work ${BUILD}/consumer)
file(REMOVE_RECURSE ${work})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --config ${CONFIG} --prefix ${work}/prefix
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${work}/build -G ${GENERATOR}
    -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=${CONFIG} "-DCMAKE_PREFIX_PATH=${work}/prefix;${PREFIX_PATH}"
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${work}/build --config ${CONFIG} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${work}/build/consumer COMMAND_ERROR_IS_FATAL ANY)
foreach(name readme_gradient readme_look)
  execute_process(COMMAND ${work}/build/${name} WORKING_DIRECTORY ${work} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
foreach(file look.html routes.safetensors)
  if(NOT EXISTS ${work}/${file})
    message(FATAL_ERROR "The README's program did not write ${file}")
  endif()
endforeach()
