#!/bin/sh
# run.sh BUILD - installs BUILD into a folder below it and builds README.md's example of the C
# interface against that, by CMake package (static and shared) and by pkg-config, and runs it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
prefix=$build/test-install
user=$build/test-user
main=$user/main.c

rm -rf "$prefix" "$user"
mkdir "$user"
cmake --install "$build" --prefix "$prefix"
# shellcheck disable=SC2016 # backquotes of Markdown
sed -n '/^```c$/,/^```$/p' "$here/../../README.md" | sed '/^```/d' >"$main"

expect() {
  said=$("$1")
  [ "$said" = "2 ..." ] && return
  echo "$1 printed '$said', not '2 ...'" >&2
  return 1
}

cmake -G Ninja -S "$here" -B "$user" -DCMAKE_PREFIX_PATH="$prefix" -DMAIN="$main" \
  -DCMAKE_C_FLAGS="-Wall -Wextra -Werror"
cmake --build "$user"
expect "$user/user_weft"
expect "$user/user_weft_shared"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name weft.pc)")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046 # flags are words
"${CC:-cc}" -include "$here/model.h" "$main" $(pkg-config --define-variable=prefix="$prefix" \
  --cflags --static --libs weft) -o "$user/user_pkg_config" -Wl,-rpath,"$(pkg-config \
    --define-variable=prefix="$prefix" --variable=libdir weft)"
expect "$user/user_pkg_config"
