# The wasm module of one tier. What it exports is marked by export_name in src/wasm/.
add_executable(weft_module ${weft_objects})
set_target_properties(weft_module PROPERTIES OUTPUT_NAME weft-${WEFT_WASM_TIER} LINKER_LANGUAGE C)
