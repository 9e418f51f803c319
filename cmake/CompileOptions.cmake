# Options of all our own code: C++20, warnings as errors, the hardening that binding.gyp has too, and the sanitizers.
add_library(node_compute_options INTERFACE)
target_compile_features(node_compute_options INTERFACE cxx_std_20)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

target_compile_definitions(node_compute_options INTERFACE _FILE_OFFSET_BITS=64)
target_compile_options(node_compute_options INTERFACE -Wall -Wextra -Werror -fstack-protector-strong)

if(NODE_COMPUTE_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "the fuzz targets need clang (cmake --preset fuzz chooses it)")
  endif()
  set(sanitizers -fsanitize=fuzzer-no-link,address,undefined)
elseif(NODE_COMPUTE_SANITIZE STREQUAL "address")
  set(sanitizers -fsanitize=address,undefined)
elseif(NODE_COMPUTE_SANITIZE STREQUAL "thread")
  set(sanitizers -fsanitize=thread)
elseif(NODE_COMPUTE_SANITIZE STREQUAL "none")
  # _FORTIFY_SOURCE hides errors from the sanitizers, hence only here.
  target_compile_options(node_compute_options INTERFACE $<$<CONFIG:Release,RelWithDebInfo>:-U_FORTIFY_SOURCE
                         -D_FORTIFY_SOURCE=2>)
else()
  message(FATAL_ERROR "NODE_COMPUTE_SANITIZE is none, address or thread, not ${NODE_COMPUTE_SANITIZE}")
endif()

if(sanitizers)
  target_compile_options(node_compute_options INTERFACE ${sanitizers} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(node_compute_options INTERFACE ${sanitizers})
endif()
