# `tidy`: clang-tidy over all sources of the product, by the compile commands of this build directory.
find_program(RUN_CLANG_TIDY NAMES run-clang-tidy run-clang-tidy-19 run-clang-tidy-18 run-clang-tidy-14)
if(RUN_CLANG_TIDY)
  set(tidy_sources ${NODE_COMPUTE_CORE_SOURCES})
  if(NODE_COMPUTE_ADDON)
    list(APPEND tidy_sources ${NODE_COMPUTE_ADDON_SOURCES})
  endif()
  add_custom_target(
    tidy
    COMMAND ${RUN_CLANG_TIDY} -quiet -p ${CMAKE_BINARY_DIR} ${tidy_sources}
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
    VERBATIM)
endif()
