"""Consistent self-attention: identity images write their self-attention features to a bank, every panel reads them.

After StoryDiffusion (arXiv:2405.01434). Torch only; nothing here imports ComfyUI.

- `schedule`: when a layer is consistent and how many tokens it keeps.
- `draws`: every random choice, as a function of a key.
- `subject`: where the subject is in a picture, and which tokens are its; `places`: the box of that.
- `bank`: what is stored; `bank_file`: the same as one safetensors file.
- `attention`: the tensor operations; `writer` and `reader`: one sampling run of each `phase`.
- `steps`: which step an evaluation belongs to; `stream`: the bank on its way to the device; `host_memory`: where
  it lies before.
"""
