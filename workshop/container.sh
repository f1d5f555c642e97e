#!/bin/sh
# Start ComfyUI in the container (Dockerfile). Every argument goes to it.
set -eu
data=${STORYBOOTH_DATA:-/data}
for folder in custom_nodes models/checkpoints models/loras models/vae input output user; do
    mkdir -p "$data/$folder"
done
ln -sfn "${STORYBOOTH_PACK:-/opt/storybooth}" "$data/custom_nodes/storybooth"
exec python "${COMFYUI_PATH:-/opt/ComfyUI}/main.py" --base-directory "$data" \
    --database-url "sqlite:///$data/user/comfyui.db" --listen 0.0.0.0 "$@"
