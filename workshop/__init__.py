"""Tools for those who work on StoryBooth: its environment, its ComfyUI hosts, a client for their API.

Nothing here is part of the published pack.
"""
