#!/bin/sh
# Puts nvcc and the CUDA runtime into /usr/local/cuda, from the packages that NVIDIA publishes for Python: what
# kernels/cuda needs of the toolkit, 0.3 of its 8 GB. For the image's build stage, as root.
# Usage: scripts/install-nvcc.sh [FOLDER]
set -eu
folder=${1:-/usr/local/cuda}
release=13.0
[ ! -e "$folder" ] || {
  echo "install-nvcc: expected no $folder, found one; remove it or name another folder" >&2
  exit 1
}
command -v pip3 >/dev/null || {
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-pip >/dev/null
}
packages=$folder.packages
pip3 install --quiet --no-deps --root-user-action ignore --target "$packages" "nvidia-cuda-nvcc==$release.*" \
  "nvidia-cuda-runtime==$release.*" "nvidia-cuda-crt==$release.*" "nvidia-nvvm==$release.*" \
  "nvidia-cuda-cccl==$release.*"
ln -s "$packages/nvidia/cu${release%%.*}" "$folder"
# As a toolkit has them.
ln -s lib "$folder/lib64"
ln -s "libcudart.so.${release%%.*}" "$folder/lib/libcudart.so"
"$folder/bin/nvcc" --version | tail -n 1
