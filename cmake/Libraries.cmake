# The libraries that the core links to, by pkg-config; scripts/libraries.mjs names the packages where one is missing.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

add_library(node_compute_libraries INTERFACE)
target_link_libraries(node_compute_libraries INTERFACE Threads::Threads)
foreach(module ${NODE_COMPUTE_PKG_MODULES})
  string(MAKE_C_IDENTIFIER ${module} prefix)
  pkg_check_modules(${prefix} REQUIRED IMPORTED_TARGET ${module})
  target_link_libraries(node_compute_libraries INTERFACE PkgConfig::${prefix})
endforeach()
