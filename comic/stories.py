"""The story that ships with the pack."""

NUPJUKI = """\
[plain] {subject}, reading a newspaper in a vintage cafe, colorful. # reading a newspaper in a vintage cafe
[plain] {subject}, walking out of a cafe, colorful. # walking out of a cafe
cars driving in a lush forest illuminated by fireflies, whole view # cars driving in a lush forest
[id] {subject}, standing in a lush forest illuminated by fireflies # standing in a lush forest
[id] [hidden] {subject}, walking in a lush forest illuminated by fireflies
a giant spider in a lush forest illuminated by fireflies # a giant spider
{subject} running in a lush forest # running in a lush forest
a house in a lush forest illuminated by fireflies # a house, illuminated by fireflies
a room, filled with gold, ancient artifacts, and treasure chests # a room filled with gold
[plain] {subject} surrounded by money, jewels, wearing sunglasses, wearing golden clothes. \
# surrounded by money and jewels"""
"""The nine-panel comic of the StoryBooth report, in page order."""
