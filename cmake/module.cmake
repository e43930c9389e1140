# The wasm module of one tier. What it exports is marked by export_name in src/wasm/. The page makes
# the memory, since it is the page that knows how much the browser gives; and the threads, each an
# instance of this module on the same memory, with the stack that it gives it.
file(GLOB sources CONFIGURE_DEPENDS src/wasm/*.c)
add_executable(weft_module ${sources} ${weft_objects} $<TARGET_OBJECTS:weft_kernels>)
target_link_libraries(weft_module PRIVATE weft_flags)
set_target_properties(weft_module PROPERTIES OUTPUT_NAME weft-${WEFT_WASM_TIER} LINKER_LANGUAGE C
                                             LINK_FLAGS "--import-memory --export=__stack_pointer")
