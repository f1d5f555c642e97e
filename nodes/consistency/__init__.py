"""Consistent self-attention on a ComfyUI MODEL: the nodes that write an identity bank, and those that read it.

- `writer`: Identity Bank Writer; `patch`: Consistent Self-Attention Patch; `hook`: Identity Bank Hook.
- `bank_files`: Save Identity Bank and Load Identity Bank; `previews`: their pictures.
- `writing`: a bank, or those of a cast, made; `announcing`: what the writer says before it writes.
- `cast_reading`: the banks of a cast on a MODEL, for those panels that show their characters.
- `keeping`: which tokens are kept and who reads them, as widgets and checks.
- `patching`: the attention of a MODEL, patched; `attached`: what is patched into it; `watching`: its calls seen from
  inside.
- `guidance`: which half of a call stands for which prompt.
- `reading`: what reads a bank, looked at before one is written.
"""
