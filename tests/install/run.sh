#!/bin/sh
# run.sh BUILD - installs BUILD into a folder below it and builds a program against that, by CMake
# package (static and shared) and by pkg-config.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
prefix=$build/test-install
user=$build/test-user

rm -rf "$prefix" "$user"
cmake --install "$build" --prefix "$prefix"

cmake -S "$here" -B "$user" -DCMAKE_PREFIX_PATH="$prefix"
cmake --build "$user"
"$user/user_weft"
"$user/user_weft_shared"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name weft.pc)")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046 # flags are words
"${CC:-cc}" -std=c17 "$here/main.c" $(pkg-config --define-variable=prefix="$prefix" --cflags \
  --static --libs weft) -o "$user/user_pkg_config" -Wl,-rpath,"$(pkg-config \
    --define-variable=prefix="$prefix" --variable=libdir weft)"
"$user/user_pkg_config"
