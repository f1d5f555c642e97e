"""From a script to a page. Pillow; nothing here imports ComfyUI.

- `storyboard`: the script's grammar; `flags`: what opens a line; `cast`: who is in it; `regions`: where they are;
  `speech`: what is said; `near_misses`: what is almost the grammar; `stories`: the one that ships; `styles`: what is
  put around a prompt.
- `page`: panels and captions in a grid; `lettering`: fonts, and where a caption breaks; `font_files`: the fonts of this
  computer; `bubbles`: their places; `bubble_shapes`: they drawn; `speakers`: whom they point to; `sheet`: what lies
  where on a page.
- `rows`: the notation of a page's rows; `layouts`: those that have a name; `layout`: where their panels lie;
  `polygons`: how these are cut; `panel_sizes`: the size that each is drawn at; `plan`: a picture of all that; `bound`:
  pages drawn on a layout.
- `saving`: pages to files, a format each.
"""
