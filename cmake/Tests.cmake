# Unit tests (native/test/*_test.cc, doctest) and fuzz targets (native/test/fuzz_*.cc, libFuzzer).
if(NODE_COMPUTE_TESTS)
  find_path(DOCTEST_INCLUDE_DIR doctest/doctest.h REQUIRED)
  file(GLOB test_sources CONFIGURE_DEPENDS native/test/*_test.cc)
  if(NODE_COMPUTE_SANITIZE STREQUAL "thread")
    # What these test has no thread but its caller's.
    list(FILTER test_sources EXCLUDE REGEX "image_(create|digest|formats?|grow|info|mutation|qcow2|qcow2_refcount|qcow2_snapshot)_test.cc$")
  endif()
  add_executable(unit_tests native/test/main.cc ${test_sources})
  target_include_directories(unit_tests SYSTEM PRIVATE ${DOCTEST_INCLUDE_DIR})
  target_link_libraries(unit_tests PRIVATE node_compute_core)
  # Most of what is built is the same headers, again for each test.
  target_precompile_headers(unit_tests PRIVATE
    <doctest/doctest.h> <filesystem> <fstream> <functional> <string> <thread> <vector>)
  # It defines doctest, which is not what is tested.
  set(main_options -O0)
  if(sanitizers)
    list(APPEND main_options -fno-sanitize=all)
  endif()
  set_source_files_properties(native/test/main.cc PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_OPTIONS "${main_options}")
endif()

if(NODE_COMPUTE_FUZZ)
  file(GLOB fuzz_sources CONFIGURE_DEPENDS native/test/fuzz_*.cc)
  foreach(source ${fuzz_sources})
    get_filename_component(target ${source} NAME_WE)
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE node_compute_core)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  endforeach()
endif()
