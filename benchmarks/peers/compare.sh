#!/usr/bin/env bash
# One worker of ours beside PyTorch: the same decoder, batch, optimizer, one thread each, in turns on the same machine.
#   apt-get install python3-torch libopenblas0-pthread
#   benchmarks/peers/compare.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds="${1:-3}"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
dotnet build benchmarks/Sora.Benchmarks -c Release -v quiet -nologo
echo "| round | shape | SoraCluster (tok/s) | PyTorch (tok/s) | ratio |"
echo "|---|---|---|---|---|"
for round in $(seq "$rounds"); do
  for shape in gpt2 llama; do
    ours="$(dotnet benchmarks/Sora.Benchmarks/bin/Release/net10.0/Sora.Benchmarks.dll train "${shape%2}" | sed -n 's/.*by the clock: *\([0-9]*\) tokens.*/\1/p')"
    theirs="$(/usr/bin/python3 benchmarks/peers/decoder_pytorch.py --shape "$shape" | sed -n 's/.*"tokens_per_second": \([0-9.]*\).*/\1/p')"
    echo "| $round | $shape | $ours | $theirs | $(awk "BEGIN { printf \"%.2f\", $ours / $theirs }") |"
  done
done
