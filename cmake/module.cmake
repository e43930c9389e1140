# The wasm module of one tier. What it exports is marked by export_name in src/wasm/. The page makes
# the memory, since it is the page that knows how much the browser gives.
add_executable(weft_module ${weft_objects} $<TARGET_OBJECTS:weft_kernels>)
set_target_properties(weft_module PROPERTIES OUTPUT_NAME weft-${WEFT_WASM_TIER} LINKER_LANGUAGE C
                                             LINK_FLAGS --import-memory)
