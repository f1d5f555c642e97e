#!/usr/bin/env bash
# Pack what card.py needs on a bare CUDA machine into .gpu/ (18 MB), where card_check.sh runs it: wheels (CPython 3.12,
# Linux x86-64), ComfyUI 0.30.0 without foreign tokenizers, and the pack at HEAD. The machine has torch, transformers and
# accelerate, and Mini's weights in its tree. From the project's root: bash development/benchmarks/card_pack.sh [COMFYUI]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); comfy=${1:-.dev/hosts/comfyui-0.30.0}
rm -rf .gpu; mkdir -p .gpu/whl; cp "$here"/card.py .gpu/; cp "$here"/card_check.sh .gpu/; cp -r "$here"/card_stub .gpu/stub
linux=(--platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 --platform manylinux2010_x86_64)
get=(python3 -m pip download -q --no-deps --only-binary :all: --python-version 3.12 -d .gpu/whl)
"${get[@]}" "${linux[@]}" --implementation cp --abi cp312 --abi abi3 --abi none diffusers peft sqlalchemy \
  pydantic==2.14.4 pydantic_core==2.50.5 comfy-aimdo==0.4.11 torchsde trampoline typing_extensions typing_inspection annotated_types
"${get[@]}" --platform any comfy-kitchen==0.2.26
tar cJf .gpu/host.tar.xz -C "$comfy" --exclude=tests --exclude=tests-unit --exclude=comfy_api_nodes --exclude=blueprints \
  --exclude=script_examples --exclude='__pycache__' --exclude='comfy/text_encoders/*tokenizer*/*' --exclude='.git*' --exclude='.ci' .
git archive HEAD -- . ':!tests' ':!docs' ':!assets/samples' ':!*.safetensors' ':!*/results/*' ':!workflows' | xz -6 >.gpu/pack.tar.xz
exclude=$(git rev-parse --git-path info/exclude); grep -qs '^/.gpu/$' "$exclude" || echo /.gpu/ >>"$exclude"
du -sh .gpu
