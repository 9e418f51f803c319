{
  "includes": ["native/sources.gypi"],
  "targets": [
    {
      "target_name": "node_compute",
      "sources": ["<@(core_sources)", "<@(addon_sources)"],
      "include_dirs": ["native", "<!@(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=<(napi_version)",
        "NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
        "_FILE_OFFSET_BITS=64"
      ],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": [
        "-std=c++20", "-fexceptions", "-frtti", "-O2", "-g", "-Wall", "-Wextra", "-Werror=return-type",
        "-fvisibility=hidden", "-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"
      ],
      "cflags": ["<!@(node scripts/libraries.mjs --cflags)"],
      "libraries": ["<!@(node scripts/libraries.mjs --libs)"],
      "ldflags": [
        "-Wl,-z,relro,-z,now", "-Wl,-z,nodelete", "-Wl,--version-script=<(module_root_dir)/native/exports.map"
      ]
    }
  ]
}
