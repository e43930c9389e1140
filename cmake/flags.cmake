# Compiler flags that all of Weft's own targets take: the interface target weft_flags.
add_library(weft_flags INTERFACE)
target_include_directories(weft_flags INTERFACE include src .)
target_compile_options(
  weft_flags
  INTERFACE -Wall
            -Wextra
            -Wshadow
            -Wconversion
            -Wvla
            # Results must not depend on what a compiler fuses; kernels say fma where they mean it.
            -ffp-contract=off
            -fno-math-errno)

if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # GCC cannot see that a function answers an error whenever it leaves its output unset.
  target_compile_options(weft_flags INTERFACE -Wno-maybe-uninitialized)
endif()

if(WEFT_SANITIZE)
  target_compile_definitions(weft_flags INTERFACE WEFT_VERIFY_PASSES) # opt/opt.c
  set(sanitize -fsanitize=${WEFT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(weft_flags INTERFACE ${sanitize})
  target_link_options(weft_flags INTERFACE ${sanitize})
endif()
if(WEFT_FUZZ)
  target_compile_options(weft_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
