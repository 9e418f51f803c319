# node_compute.node, with the headers of the npm packages: no headers of a Node.js version are needed.
function(node_compute_npm_include package result)
  execute_process(
    COMMAND node -p "const p = require('${package}'); (p.include_dir ? require('path').resolve(p.include_dir) : '')"
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}
    OUTPUT_VARIABLE directory OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  set(${result} ${directory} PARENT_SCOPE)
endfunction()

node_compute_npm_include(node-api-headers node_api_include)
node_compute_npm_include(node-addon-api node_addon_api_include)

add_library(node_compute MODULE ${NODE_COMPUTE_ADDON_SOURCES})
set_target_properties(node_compute PROPERTIES PREFIX "" SUFFIX ".node")
target_include_directories(node_compute SYSTEM PRIVATE ${node_api_include} ${node_addon_api_include})
target_compile_definitions(
  node_compute PRIVATE NODE_GYP_MODULE_NAME=node_compute NAPI_VERSION=${NODE_COMPUTE_NAPI_VERSION}
                       NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS
                       NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS)
target_link_libraries(node_compute PRIVATE node_compute_core)
target_precompile_headers(node_compute PRIVATE <napi.h> <memory> <optional> <string> <utility> <vector>)
if(sanitizers)
  # napi.h is most of what each of them compiles.
  set_target_properties(node_compute PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
endif()
# Never unloaded: its threads and libvirt's may still run when the environment that loaded it has gone.
set(exports ${CMAKE_CURRENT_SOURCE_DIR}/native/exports.map)
target_link_options(node_compute PRIVATE -Wl,-z,relro,-z,now -Wl,-z,nodelete -Wl,--version-script=${exports})
set_target_properties(node_compute PROPERTIES LINK_DEPENDS ${exports})
