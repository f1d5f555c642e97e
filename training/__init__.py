"""DreamBooth LoRAs of SDXL: from photos to a file. Torch, diffusers, peft; nothing here imports ComfyUI.

What goes in:

- `settings`: all that a run can be told, and its defaults; `presets`: some that go together; `timesteps`: how often
  each noise level is trained.
- `photo_folder`: a folder of photos and captions; `photo_captions`: other captions for them; `colours`: whatever they
  are in, as sRGB; `images`: photos opened, resized and cropped; `masks`: where the subject is on them; `examples`: the
  same, encoded.

The run:

- `run`: puts a trainer together, trains, saves; `trainer`: one optimizer step after another; `precision`: in what.
- `batches`: which photos a step looks at; `loss`: how far off the answer is; `prediction`: of what, noise or v;
  `optimizers`: AdamW and others.
- `unet`: SDXL's UNet on weights that lie in memory; `lora`: the LoRA on it; `lora_layer`: one layer of that.
- `tlora`: T-LoRA, a LoRA whose ranks follow the timestep; `tlora_kind`: how many act when, as its file tells it.
- `own_word`: new tokens of the text encoders that learn, too, or alone; `text_encoders`: what they learn in.
- `starting_lora`: going on from a LoRA that exists; `resume`: from where the same run was stopped.

What comes out:

- `run_files`: where LoRA and states lie, and which run they are of; `recipe`: what makes two runs the same.
- `word_files`: the same for an own word, an embedding.
- `stable_safetensors`: files whose bytes follow from their content.
- `report`: the run as a picture; `plotting` and `curve`: its parts; `sample_pictures`: a look at what was learned.

Without ComfyUI:

- `command_line`: scripts/train_lora.py; `arguments`: what it is told.
- `sdxl_files`: networks from a checkpoint; `sdxl_shapes`: their sizes; `sdxl_encoders`: photos and captions encoded.
"""
