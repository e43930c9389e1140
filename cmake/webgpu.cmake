# Native WebGPU, where WEFT_WEBGPU names a folder with webgpu.h and the library of wgpu-native (the
# folder `resources` of PyPI's package wgpu, say) or of Dawn. Sets weft_webgpu, what the driver is
# compiled with, and weft_webgpu_library, what is linked.
set(WEFT_WEBGPU "" CACHE PATH "Folder with webgpu.h and its library; empty: no GPU")
if(WEFT_WEBGPU)
  list(FILTER sources EXCLUDE REGEX "driver_none\\.c$")
  set(names wgpu_native wgpu_native-release webgpu_dawn)
  set(where PATHS "${WEFT_WEBGPU}" PATH_SUFFIXES lib NO_DEFAULT_PATH)
  find_library(WEFT_WEBGPU_LIBRARY NAMES ${names} ${where} REQUIRED)
  set(where PATHS "${WEFT_WEBGPU}" PATH_SUFFIXES include/webgpu include webgpu NO_DEFAULT_PATH)
  find_path(WEFT_WEBGPU_HEADERS webgpu.h ${where} REQUIRED)
  add_library(weft_webgpu INTERFACE)
  target_include_directories(weft_webgpu SYSTEM INTERFACE "${WEFT_WEBGPU_HEADERS}")
  set(weft_webgpu weft_webgpu)
  set(weft_webgpu_library "${WEFT_WEBGPU_LIBRARY}")
  set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON) # what is installed finds it where it was
else()
  list(FILTER sources EXCLUDE REGEX "driver_native")
endif()
