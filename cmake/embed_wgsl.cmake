# Writes OUTPUT, a C file with the shaders FILES: cmake -DOUTPUT=... -DFILES=a.wgsl;b.wgsl
# -DVARIANTS=a.c;b.c -P this. Their version changes with the contents of all of them.
# Comments and indentation stay behind: a page downloads the rest.
set(texts "")
set(rows "")
set(all "")
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME_WE)
  file(READ "${file}" text)
  string(REGEX REPLACE "[ \t]*//[^\n]*" "" text "${text}")
  string(REGEX REPLACE "\n[ \t\n]+" "\n" text "${text}")
  string(REGEX REPLACE "^\n" "" text "${text}")
  string(APPEND all "${name} ${text}")
  file(WRITE "${OUTPUT}.text" "${text}")
  file(READ "${OUTPUT}.text" bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND texts "static const char wgsl_${name}[] = {${bytes} 0};\n")
  string(APPEND rows "  {\"${name}\", wgsl_${name}, sizeof wgsl_${name} - 1},\n")
endforeach()
file(REMOVE "${OUTPUT}.text")
foreach(file IN LISTS VARIANTS)
  file(READ "${file}" text)
  string(APPEND all "${text}")
endforeach()
string(SHA1 version "${all}")
string(SUBSTRING "${version}" 0 12 version)
file(WRITE "${OUTPUT}" "/* The shaders of kernels/wgsl, by cmake/embed_wgsl.cmake. */
#include \"gpu/shader.h\"

#include \"base/memory.h\"

${texts}
static const struct {
  const char *name, *text;
  size_t length;
} files[] = {
${rows}  {\"\", \"\", 0},
};

const char *weft_wgsl_find(const char *name, size_t *length) {
  for (size_t i = 0; i + 1 < sizeof files / sizeof *files; i++) {
    if (strcmp(files[i].name, name) != 0) continue;
    *length = files[i].length;
    return files[i].text;
  }
  return NULL;
}

const char *weft_wgsl_version(void) {
  return \"${version}\";
}

const char *weft_wgsl_name(const char *name) {
  for (size_t i = 0; i + 1 < sizeof files / sizeof *files; i++)
    if (strcmp(files[i].name, name) == 0) return files[i].name;
  return NULL;
}
")
