# Toolchain file of the wasm builds: clang for the objects, wasm-ld directly for the module. Not
# clang for linking, because it would rewrite the module with any wasm-opt that it finds on the PATH
# (old ones fail on relaxed SIMD). WEFT_WASM_TIER says what the engine must have (an unknown opcode
# fails a whole module, hence one build each): a = simd128; b = a + relaxed SIMD; c = b on memory64.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm)
set(WEFT_WASM_TIER a CACHE STRING "a, b or c")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES WEFT_WASM_TIER)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

find_program(WEFT_WASM_CLANG NAMES clang-19 clang-20 clang-21 clang REQUIRED)
find_program(WEFT_WASM_LD NAMES wasm-ld-19 wasm-ld-20 wasm-ld-21 wasm-ld REQUIRED)
set(CMAKE_C_COMPILER ${WEFT_WASM_CLANG})

# Shared memory wants every object compiled with atomics.
set(flags "-matomics -mbulk-memory -msimd128")
set(bits 32)
set(memory_max 4294967296) # all that 32 bits address; the page may give less
if(NOT WEFT_WASM_TIER STREQUAL "a")
  string(APPEND flags " -mrelaxed-simd")
endif()
if(WEFT_WASM_TIER STREQUAL "c")
  set(bits 64)
  set(memory_max 17179869184) # what engines allow: 16 GiB
endif()
set(CMAKE_C_COMPILER_TARGET wasm${bits})
# Threads' stacks have no guard page (STACK_BYTES in src/wasm/threads.c), so frames stay small.
set(CMAKE_C_FLAGS_INIT "${flags} -ffreestanding -nostdlib -Wframe-larger-than=16384")

set(CMAKE_EXECUTABLE_SUFFIX_C .wasm)
set(CMAKE_C_LINK_EXECUTABLE "<CMAKE_COMMAND> -E env ${WEFT_WASM_LD} -m wasm${bits} --no-entry \
--shared-memory --max-memory=${memory_max} -z stack-size=1048576 --stack-first \
--gc-sections --strip-all <LINK_FLAGS> <OBJECTS> <LINK_LIBRARIES> -o <TARGET>")
