#!/bin/sh
# lavapipe.sh - a Vulkan device that is this computer's CPU, for tests of the GPU without one:
# Mesa's lavapipe, new enough (26.0) for f16, subgroups and subgroup matrices; most systems' own is
# older.
#
#     tools/lavapipe.sh DIR [NODE]
#
# unpacks Debian's packages in DIR (63 MB to fetch, 200 MB on disk; no root, the system's packages
# stay as they are), with the C library that they want, and leaves DIR/node, which runs NODE on top.
# There WebGPU (npm's webgpu: Dawn) finds lavapipe, or the Vulkan driver that VK_ICD_FILENAMES
# names: Chromium's SwiftShader, say. Packages come from the Debian mirror that apt is set up with,
# or MIRROR. A second call does nothing.
set -eu

suite=trixie-backports
packages='mesa-vulkan-drivers libvulkan1 libstdc++6 libatomic1'
keys=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
  printf 'lavapipe: %s\n' "$*" >&2
  exit 1
}

[ $# -ge 1 ] || die 'usage: lavapipe.sh DIR [NODE]'
case $(uname -sm) in
'Linux x86_64') triplet=x86_64-linux-gnu loader=ld-linux-x86-64.so.2 ;;
'Linux aarch64') triplet=aarch64-linux-gnu loader=ld-linux-aarch64.so.1 ;;
*) die "there are packages for Linux on x86-64 and ARM64, not for $(uname -sm)" ;;
esac
for tool in apt-get dpkg-deb; do
  command -v $tool >/dev/null || die "$tool is missing: this needs Debian or a system made from it"
done
[ -r $keys ] || die "$keys is missing: apt-get install debian-archive-keyring"

mkdir -p "$1"
dir=$(cd "$1" && pwd)
node=$(readlink -f "${2:-$(command -v node)}") || die 'there is no Node'
apt=$dir/apt
libraries=$dir/usr/lib/$triplet

# apt with lists, caches and sources of its own, and nothing installed.
private_apt() {
  apt-get -qq -o Dir::State="$apt" -o Dir::State::status=/dev/null -o Dir::Cache="$apt" \
    -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Acquire::Languages=none -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" "$@" >&2
}

fetch() {
  # shellcheck disable=SC2016 # apt's own variable
  mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' | grep '/debian/*$' | head -n 1)}
  [ -n "$mirror" ] || die 'apt has no Debian mirror here: set MIRROR to the address of one'
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  for name in "${suite%-backports}" $suite; do
    echo "deb [signed-by=$keys] $mirror $name main"
  done >"$apt/sources.list"
  private_apt update || die "$mirror does not answer, or has no $suite"
  # shellcheck disable=SC2086 # a list
  private_apt install -y --download-only --no-install-recommends -t $suite $packages ||
    die "$mirror could not give: $packages"
}

unpack() {
  for package in "$apt"/archives/*.deb; do
    dpkg-deb -x "$package" "$dir"
  done
  find "$libraries" -name 'libvulkan_*' ! -name libvulkan_lvp.so -delete
  rm -rf "$apt" "$dir/usr/share/doc"
}

# Node by the loader of the unpacked C library. Programs that Node starts by its own path are to
# run the same way.
write_node() {
  echo "process.execPath = '$dir/node';" >"$dir/execpath.cjs"
  cat >"$dir/node" <<END
#!/bin/sh
export XDG_RUNTIME_DIR="\${XDG_RUNTIME_DIR:-$dir}"
export VK_ICD_FILENAMES="\${VK_ICD_FILENAMES:-$dir/usr/share/vulkan/icd.d/lvp_icd.json}"
exec '$libraries/$loader' --library-path '$libraries' '$node' --require '$dir/execpath.cjs' "\$@"
END
  chmod +x "$dir/node"
}

if [ ! -e "$dir/unpacked" ]; then
  fetch
  unpack
  touch "$dir/unpacked"
fi
write_node
