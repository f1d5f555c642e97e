"""How StoryBooth Mini came to draw: a small world of pictures, and the training of a network on it.

ComfyUI never imports this folder; it only reads the weights in `assets/mini/`.
"""
