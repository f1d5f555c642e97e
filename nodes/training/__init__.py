"""Training a LoRA: the nodes from photos to a trained MODEL.

- `trainer`: Log-Normal DreamBooth LoRA Trainer, `trainer_sockets`: its inputs and outputs; `options`: LoRA Training
  Options.
- `photos`: Load Subject Images; `photo_places`: where they lie; `photo_routes`: how the canvas sees them.
- `timestep_plot`: Timestep Plot; `save_lora`: Save LoRA.
- `tlora_loader`: T-LoRA Loader.
- `inputs`: what comes through the trainer's sockets, as `storybooth.training` takes it; `weights`: the MODEL's own.
- `own_word`: an own word in ComfyUI's CLIP, while it is learned and afterwards.
- `learning`: from photos to a LoRA's file, without a trace in memory.
- `progress`, `samples`, `view`: what is seen of a training while it runs.
"""
