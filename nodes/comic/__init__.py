"""From a script to a page.

- `storyboard`: Storyboard; `panel_sampler`: Story Panel Sampler; `page_layout`: Page Layout; `page`:
  Comic Page; `save_comic`: Save Comic.
- `panel_drawing`: the panels, each drawn once; `panel_strip`: what the canvas shows of them meanwhile.
"""
