#!/bin/sh
# symbols.sh NM LIBRARY - what the static library shows to and wants from the outside: every global
# symbol starts with weft_, and of the C library it uses only what src/base/host_native.c needs, and
# src/gpu/driver_native.c where that is built.
set -eu
nm=$1 library=$2
allowed='memcpy|memmove|memset|memcmp|strlen|strcmp|posix_memalign|free|clock_gettime'
allowed="$allowed|pthread_[a-z_]+|bcmp|__cpu_[a-z0-9_]+|_GLOBAL_OFFSET_TABLE_|nanosleep"
allowed="$allowed|wgpu[A-Za-z]+"

"$nm" -g "$library" | awk -v allowed="^_?($allowed)\$" '
  NF == 3 { defined[$3] = 1; if ($3 !~ /^_?weft_/) { print "not weft_: " $3; bad = 1 } }
  NF == 2 { used[$2] = 1 }
  END {
    for (name in used)
      if (!(name in defined) && name !~ allowed) { print "from outside: " name; bad = 1 }
    exit bad
  }'
