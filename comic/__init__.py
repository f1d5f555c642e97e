"""From a script to a page. Pillow; nothing here imports ComfyUI.

- `storyboard`: the script's grammar; `near_misses`: what is almost it; `stories`: the one that ships; `styles`: what is
  put around a prompt.
- `page`: panels and captions laid out; `sheet`: what lies where on a page; `lettering`: fonts, and where a caption
  breaks.
"""
