"""From a script to a page.

- `character`: Character; `storyboard`: Storyboard; `panel_sampler`: Story Panel Sampler; `page_layout`: Page Layout;
  `page`: Comic Page, `fonts`: those that it lists; `save_comic`: Save Comic, `described_book`: what its inputs say.
- `panel_lines`: what is to be drawn; `panel_drawing`: the panels, each drawn once; `ways`: by which model, and which
  prompt in which part of them; `seeing`: who is where in them; `held_panels`: those that a bank holds; `panel_strip`:
  what the canvas shows of them meanwhile.
- `page_inputs`: what Comic Page letters its panels with.
"""
