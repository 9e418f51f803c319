{
  "variables": {
    "napi_version": "9",
    "pkg_modules": ["libvirt", "libqcow", "libnl-route-3.0", "nettle", "libdeflate", "libzstd"],
    "core_sources": [
      "native/executor/executor.cc",
      "native/libvirt/error.cc",
      "native/libvirt/event_loop.cc",
      "native/libvirt/fork_guard.cc",
      "native/libvirt/reaper.cc",
      "native/libvirt/connection.cc",
      "native/libvirt/domain.cc",
      "native/network/bridge.cc",
      "native/network/link.cc",
      "native/network/netlink.cc",
      "native/storage/file_lock.cc",
      "native/storage/files.cc",
      "native/storage/lock_waiter.cc",
      "native/storage/remove_tree.cc",
      "native/image/convert.cc",
      "native/image/copy.cc",
      "native/image/decompressor.cc",
      "native/image/image_io.cc",
      "native/image/digest.cc",
      "native/image/file_sink.cc",
      "native/image/format.cc",
      "native/image/inspect.cc",
      "native/image/libqcow_identity.cc",
      "native/image/publish.cc",
      "native/image/qcow2_create.cc",
      "native/image/qcow2_header.cc",
      "native/image/qcow2_map.cc",
      "native/image/qcow2_validator.cc",
      "native/image/source_file.cc"
    ],
    "addon_sources": [
      "native/addon/addon.cc",
      "native/addon/environment.cc",
      "native/addon/errors.cc",
      "native/addon/connection_object.cc",
      "native/addon/domain_object.cc",
      "native/addon/event_feed.cc",
      "native/addon/image_functions.cc",
      "native/addon/network_functions.cc",
      "native/addon/storage_functions.cc"
    ]
  }
}
