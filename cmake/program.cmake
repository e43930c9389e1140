# The command line program `weft`: cli/ over the public headers only.
find_package(PkgConfig REQUIRED)
pkg_check_modules(libzip REQUIRED IMPORTED_TARGET libzip)
file(GLOB sources CONFIGURE_DEPENDS cli/*.c)
add_executable(weft_cli ${sources})
set_target_properties(weft_cli PROPERTIES OUTPUT_NAME weft)
target_link_libraries(weft_cli PRIVATE weft weft_flags PkgConfig::libzip)
target_compile_definitions(weft_cli PRIVATE _GNU_SOURCE) # POSIX and more, with -std=c17
target_link_libraries(weft_cli PRIVATE m)
