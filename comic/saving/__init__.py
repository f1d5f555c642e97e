"""Pages to files that people use: one function for each format, and nothing here imports ComfyUI.

- `book`: what all formats are made of; `formats`: which there are, and what each writes.
- `pdf`, `epub`, `cbz`: one file for all pages; `svg`: a file of layers for each page; `webtoon`: one strip, cut up.
"""
