# The core: src/ and kernels/ as one set of objects, weft_objects; natively the libraries on top.
if(NOT WEFT_WASM_TIER)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON) # the objects are those of the shared library too
endif()
set(folders base format graph opt plan cpu gpu run llm)
list(TRANSFORM folders REPLACE "(.+)" "src/\\1/*.c" OUTPUT_VARIABLE patterns)
file(GLOB sources CONFIGURE_DEPENDS ${patterns})
if(WEFT_WASM_TIER)
  list(FILTER sources EXCLUDE REGEX "(host_native|driver_native(_work)?|driver_none)\\.c$")
  # A page downloads all of it, and waits only for what runs per element or per step; models are
  # read and rewritten once.
  set(cold ${sources})
  list(FILTER cold EXCLUDE REGEX "src/(cpu|llm)/")
  set_source_files_properties(${cold} PROPERTIES COMPILE_OPTIONS -Os)
  list(FILTER cold INCLUDE REGEX "src/(format|opt)/")
  set_source_files_properties(${cold} PROPERTIES COMPILE_OPTIONS -Oz)
else()
  list(FILTER sources EXCLUDE REGEX "(host_wasm|driver_web|base/memory)\\.c$")
  include(cmake/webgpu.cmake)
endif()

# The shaders, as text. What the tuner has measured holds for them and for the lists of variants.
file(GLOB shaders CONFIGURE_DEPENDS kernels/wgsl/*.wgsl)
set(variants matmul_variants.c attention.c)
list(TRANSFORM variants PREPEND ${PROJECT_SOURCE_DIR}/src/gpu/)
set(wgsl ${CMAKE_CURRENT_BINARY_DIR}/wgsl.c)
add_custom_command(
  OUTPUT ${wgsl}
  COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${wgsl}" "-DFILES=${shaders}"
          "-DVARIANTS=${variants}" -P ${PROJECT_SOURCE_DIR}/cmake/embed_wgsl.cmake
  DEPENDS ${shaders} ${variants} ${PROJECT_SOURCE_DIR}/cmake/embed_wgsl.cmake
  VERBATIM)
list(APPEND sources ${wgsl})

add_library(weft_objects OBJECT ${sources})
set_source_files_properties(src/base/memory.c PROPERTIES COMPILE_OPTIONS -fno-builtin)
target_link_libraries(weft_objects PRIVATE weft_flags ${weft_webgpu})
set(weft_objects $<TARGET_OBJECTS:weft_objects>)

# Kernels: each source is compiled once for each target that this architecture carries, with the
# target's definition and flags. kernels/sources.cmake says which.
include(kernels/sources.cmake)
if(WEFT_WASM_TIER)
  set(architecture wasm_${WEFT_WASM_TIER})
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(architecture x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(architecture aarch64)
else()
  set(architecture other)
endif()
set(weft_kernel_targets ${WEFT_KERNEL_TARGETS_${architecture}})

# weft_add_kernels(name target source...): an object library, compiled for a target.
function(weft_add_kernels name target)
  string(TOUPPER ${target} upper)
  list(TRANSFORM ARGN PREPEND ${PROJECT_SOURCE_DIR}/)
  add_library(${name} OBJECT ${ARGN})
  target_link_libraries(${name} PRIVATE weft_flags)
  target_compile_options(${name} PRIVATE ${WEFT_KERNEL_FLAGS} ${WEFT_KERNEL_FLAGS_${target}})
  target_compile_definitions(${name} PRIVATE WEFT_TARGET_${upper})
endfunction()

foreach(target ${weft_kernel_targets})
  if(target STREQUAL "reference")
    weft_add_kernels(weft_kernels_reference reference ${WEFT_KERNEL_REFERENCE_SOURCES})
  elseif(target IN_LIST WEFT_KERNEL_DERIVED)
    weft_add_kernels(weft_kernels_${target} ${target} ${WEFT_KERNEL_DERIVED_SOURCES})
  elseif(DEFINED WEFT_KERNEL_SOURCES_${target})
    weft_add_kernels(weft_kernels_${target} ${target} ${WEFT_KERNEL_SOURCES_${target}})
  else()
    weft_add_kernels(weft_kernels_${target} ${target} ${WEFT_KERNEL_SOURCES})
  endif()
  list(APPEND weft_objects $<TARGET_OBJECTS:weft_kernels_${target}>)
endforeach()

# The table of targets. The module that is shipped leaves the reference out, to be small.
add_library(weft_kernels OBJECT ${WEFT_KERNEL_COMMON_SOURCES})
target_link_libraries(weft_kernels PRIVATE weft_flags)
if(WEFT_WASM_TIER)
  target_compile_definitions(weft_kernels PRIVATE WEFT_NO_REFERENCE)
endif()

if(NOT WEFT_WASM_TIER)
  find_package(Threads REQUIRED)
  add_library(weft STATIC ${weft_objects} $<TARGET_OBJECTS:weft_kernels>)
  add_library(weft_shared SHARED ${weft_objects} $<TARGET_OBJECTS:weft_kernels>)
  set_target_properties(weft_shared PROPERTIES OUTPUT_NAME weft VERSION ${PROJECT_VERSION}
                                               SOVERSION ${PROJECT_VERSION_MAJOR})
  foreach(library weft weft_shared)
    target_include_directories(
      ${library} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                        $<INSTALL_INTERFACE:include>)
    target_link_libraries(${library} PUBLIC Threads::Threads ${weft_webgpu_library}
                          PRIVATE $<BUILD_INTERFACE:weft_flags>)
    add_library(weft::${library} ALIAS ${library})
  endforeach()
endif()
