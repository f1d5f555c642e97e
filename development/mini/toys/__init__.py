"""Toys without number: what Mini's world has for subjects beside the thirteen that it knows by name.

anatomy.py  draws a toy's features and builds it from simple solids
poses.py    how it stands: joints turned, the whole body turned
camera.py   rays, and what they meet: colour, outline, shadow, for many toys at once, on any device
photos.py   photographs: light, lens, floor, wall and clutter
numbered.py toys and pictures by number, in lists that share none: training, measuring, search
words.py    what captions call a toy: loosely, so that words leave open what photos must tell
"""
