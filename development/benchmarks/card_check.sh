#!/usr/bin/env bash
# Run card.py on a bare CUDA machine, from what card_pack.sh packed into .gpu/: the legacy allocator first, then dynamic
# VRAM, in under ten minutes. From the project's root there: OUT=folder bash .gpu/card_check.sh [SECONDS] [SECONDS]
{ set -x
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .gpu/whl/*.whl || exit
mkdir -p /tmp/c /tmp/p; tar xJf .gpu/host.tar.xz -C /tmp/c; tar xJf .gpu/pack.tar.xz -C /tmp/p
weights=$(dirname "$(find . -name eye.safetensors -not -path './.dev/*' | head -1)") # Mini's, where the tree has them
mkdir -p "/tmp/p/$weights" && cp "$weights"/*.safetensors "/tmp/p/$weights"
timeout 40 nvidia-smi; free -g | head -2; python3 -m pip list 2>/dev/null | grep -iE "^(torch|diffusers|peft|accelerate|transformers|numpy) "
set +x; } >"$OUT/setup.log" 2>&1
export PYTHONPATH=/tmp/site:$PWD/.gpu/stub PYTHONUNBUFFERED=1 OMP_NUM_THREADS=16
within=$(find /tmp/p -name within.py | head -1)
run() { timeout $(($1 + 10)) python3 "$within" --cuda /tmp/c .gpu/card.py --limit "$@"; }
run "${1:-200}" --full steps bf16 fp8 fp16 fp32 --output "$OUT/legacy.json" --profile "$OUT/profile.txt" >"$OUT/legacy.log" 2>&1
PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync run "${2:-120}" --dynamic --full steps bf16 fp8 --skip stream pins --output "$OUT/dynamic.json" >"$OUT/dynamic.log" 2>&1
grep -hE "^[a-z_]+ \[|Error|FAILED|aimdo" "$OUT"/*.log | cut -c1-1500
