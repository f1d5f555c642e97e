"""StoryBooth Mini, a tiny model to try everything with: `checkpoint`, the node; `network`, what it loads."""
