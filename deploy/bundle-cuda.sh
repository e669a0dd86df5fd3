#!/usr/bin/env bash
# Makes a self-contained bundle of sora WITHOUT libtorch, for a GPU host that has PyTorch's own libtorch (2.10, CUDA).
#
#   deploy/bundle-cuda.sh [OUTPUT.tar.xz]            default: artifacts/sora-cuda-linux-x64.tar.xz
#
# On the GPU host:
#   tar -xJf sora-cuda-linux-x64.tar.xz
#   export SORA_LIBTORCH="$(python3 -c 'import torch, os; print(os.path.join(os.path.dirname(torch.__file__), "lib"))')"
#   sora-cuda/sora doctor && sora-cuda/sora train sora-cuda/examples/quickstart.yaml --device cuda
#
# Fails when the bundle is larger than 60 MiB.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
output="${1:-$root/artifacts/sora-cuda-linux-x64.tar.xz}"
stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT
mkdir -p "$(dirname "$output")"

# Its own obj folder: a build for another libtorch must not disturb the checkout's.
dotnet publish "$root/src/Sora.Cli/Sora.Cli.csproj" -c Release -r linux-x64 --self-contained \
  -p:Torch=none -p:DebugType=none -p:GenerateDocumentationFile=false --artifacts-path "$stage/build" -o "$stage/sora-cuda" -v quiet -nologo
cp -r "$root/examples" "$stage/sora-cuda/examples"

tar -C "$stage" -c sora-cuda | xz -T0 -6 > "$output"
bytes="$(stat -c %s "$output")"
echo "$output: $((bytes / 1024 / 1024)) MiB"
if (( bytes > 60 * 1024 * 1024 )); then
  echo "bundle-cuda: the bundle is larger than 60 MiB; find what grew with: tar -tvJf $output | sort -k3 -n | tail" >&2
  exit 1
fi
